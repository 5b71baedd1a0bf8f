"""`modelkit bench`."""

from __future__ import annotations

import asyncio
import secrets
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project, targets
from modelkit.cli.measured import subject, write_out
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.release.verdict import EXIT_CODES

if TYPE_CHECKING:
    from modelkit.release.bench import BenchResult, Limit, Load, Workload
    from modelkit.release.bench.compare import Change
    from modelkit.release.bench.document import BenchDocument
    from modelkit.release.bench.measure import Extent


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Load a model, say how fast it answers, and whether that is within limits; 8 when it shows nothing."""
    from modelkit.release.bench.compare import compare
    from modelkit.release.bench.document import BenchDocument, read, this_machine
    from modelkit.runtime.devices import gpu_name
    from modelkit.runtime.machine import memory

    _presume_together(arguments)
    before = read(Path(arguments.compare)) if arguments.compare else None
    asked = targets.asked_of(arguments, terminal)
    limits = _limits(arguments, asked, terminal)
    workload = _workload(arguments)
    runs = _measured(arguments, asked, workload, limits, terminal)
    document = BenchDocument(subject=subject(asked, arguments), machine=this_machine(memory(), gpu_name()), runs=runs,
                             workload=workload.describe())
    _write(document, arguments, asked, terminal)
    changes = compare(before, document, tolerance=arguments.tolerance) if before else ()
    if before and before.machine != document.machine:
        terminal.note("the other result is from another machine: what differs may be that")
    terminal.document(document.as_json() | ({"comparison": [one.model_dump() for one in changes]} if before else {}))
    _show(document, terminal)
    _show_changes(changes, terminal)
    worse = any(one.verdict == "worse" for one in changes)
    return EXIT_CODES["fail" if worse else document.verdict]


def _presume_together(arguments: Namespace) -> None:
    if arguments.prompts and arguments.prompt_tokens:
        raise Failure("usage", "`--prompts` are as long as they are: `--prompt-tokens` makes others")
    if arguments.even and not arguments.rate:
        raise Failure("usage", "`--even` goes with `--rate`")


def _limits(arguments: Namespace, asked: targets.Asked, terminal: Terminal) -> list[Limit]:
    """What `--limit` says, else the stage's own."""
    from modelkit.language.layers import effective
    from modelkit.release.bench.limits import limit, of_expectation

    if arguments.limit:
        return [limit(text) for text in arguments.limit]
    if asked.stage is None:
        return []
    path = project.find(arguments.file)
    modelfile = project.load(path, terminal, project.remembered(path) | project.given(arguments, path))
    said = [of_expectation(one.value) for one in effective(modelfile, asked.stage).expectations]
    return [one for one in said if one is not None]


def _workload(arguments: Namespace) -> Workload:
    from modelkit.release.bench.workload import Synthetic, own_prompts

    answer = arguments.answer_tokens or (64, 64)
    if arguments.prompts:
        if answer[0] != answer[1]:
            raise Failure("usage", "`--prompts` take one number of answer tokens, not a range")
        return own_prompts(Path(arguments.prompts), answer[1] if arguments.answer_tokens else None)
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    return Synthetic(prompt=arguments.prompt_tokens or (128, 128), answer=answer, seed=seed)


def _loads(arguments: Namespace) -> list[Load]:
    from modelkit.release.bench.loads import Closed, Open

    if arguments.rate:
        return [Open(rate=rate, poisson=not arguments.even) for rate in dict.fromkeys(arguments.rate)]
    most = max(arguments.concurrency or (4,))
    if most > 4096:
        raise Failure("usage", f"{most} requests at a time are more than one client can make",
                      hint="4096 at most; several `modelkit bench` on several machines make more")
    return [Closed(concurrency=count) for count in dict.fromkeys(arguments.concurrency or (4,))]


def _extent(arguments: Namespace) -> Extent:
    from modelkit.release.bench.measure import Extent

    requests = arguments.requests or (100 if arguments.seconds is None else 1_000_000)
    return Extent(requests, arguments.seconds, arguments.warmup)


def _measured(arguments: Namespace, asked: targets.Asked, workload: Workload, limits: list[Limit], terminal: Terminal
              ) -> tuple[BenchResult, ...]:
    from modelkit.release.bench.measure import sweep
    from modelkit.release.client import Client

    async def work() -> tuple[BenchResult, ...]:
        async with Client(asked.target, connections=4096) as client:
            return await sweep(client, workload, _loads(arguments), extent=_extent(arguments), limits=limits,
                               seed=arguments.seed or 0, on_progress=progress)

    if arguments.tool == "vllm":
        return _by_vllm(arguments, asked, workload, limits, terminal)
    with terminal.progress("requests") as progress:
        return asyncio.run(work())


def _by_vllm(arguments: Namespace, asked: targets.Asked, workload: Workload, limits: list[Limit], terminal: Terminal
             ) -> tuple[BenchResult, ...]:
    """The loads as `vllm bench serve` makes them."""
    import os
    import shutil

    from modelkit.release.bench import vllm_bench
    from modelkit.release.bridge import bridged
    from modelkit.release.client import Client
    from modelkit.runtime import environments
    from modelkit.runtime.environment import passed_on

    program, environment = shutil.which("vllm"), environments.find("vllm")
    if program is None and environment is not None:
        program = environment.command
    if program is None:
        raise Failure("tool-missing", "vLLM is not installed", hint="put a `vllm` on PATH that was installed as "
                      "`vllm[bench]`")

    async def ready() -> Workload:
        async with Client(asked.target) as client:
            return await workload.ready(client)

    fitted, runs = asyncio.run(ready()), []
    with bridged(asked.target) as target:
        for load in _loads(arguments):
            terminal.note(f"vllm bench serve, {load}")
            runs.append(vllm_bench.measure(program, target, fitted, load, extent=_extent(arguments),
                                           limits=limits, environment=passed_on(os.environ)))
    return tuple(runs)


def _write(document: BenchDocument, arguments: Namespace, asked: targets.Asked, terminal: Terminal) -> None:
    """Into --out, and for a stage that runs here among its project's results, and what this machine is known for."""
    from modelkit.cli.fit import calibrating
    from modelkit.places import place
    from modelkit.release.bench.document import keep

    write_out(document.as_json(), arguments.out)
    if asked.plan is None:
        return
    try:
        path = keep(document, place("state") / project.project_of(project.find(arguments.file)) / "bench")
    except OSError as error:
        terminal.note(f"the result is not kept: {(error.strerror or str(error)).lower()}")
    else:
        terminal.note(f"kept as {path}")
    if calibrating.busy():
        terminal.note("other programs had the processors, too: `modelkit fit` learns nothing from it")
    else:
        calibrating.learn(asked.plan, document.runs)


def _show(document: BenchDocument, terminal: Terminal) -> None:
    rows = []
    for one in document.runs:
        rows.append((str(one.load), *(_latency(one, name) for name in ("ttft", "itl", "e2e")),
                     _plain(one, "tokens_per_second"), _plain(one, "requests_per_second"), _plain(one, "goodput"),
                     f"{100 * one.metrics.get('errors', 0):.3g} %"))
        for note in one.notes:
            terminal.note(f"{one.load}: {note}")
    header = ("LOAD", *(f"{name} P50 / P95 / P99" for name in ("TTFT", "ITL", "E2E")), "TOK/S", "REQ/S", "GOODPUT",
              "ERRORS")
    terminal.table(header, rows)
    for one in document.runs:
        for held in one.limits:
            seen = "not measured" if held.observed is None else _spelled(held.limit.metric, held.observed)
            why = f": {held.why}" if held.why else ""
            terminal.data(f"{held.verdict:<12} {held.limit.text}    {seen}, {one.load}{why}")


def _show_changes(changes: tuple[Change, ...], terminal: Terminal) -> None:
    if changes:
        terminal.data("")
        terminal.table(("LOAD", "METRIC", "THEN", "NOW", "CHANGE", "95 %", ""), [
            (one.load, one.metric, _spelled(one.metric, one.before), _spelled(one.metric, one.after),
             _percent(one.ratio), f"{_percent(one.low)} to {_percent(one.high)}", one.verdict) for one in changes])


def _latency(result: BenchResult, name: str) -> str:
    """p50 / p95 / p99; a percentile of too few samples in brackets."""
    from modelkit.release.bench.result import enough, times

    answered = [one for one in result.samples if one.error is None]
    count, words = len(times(answered, name)), []
    for percentile in ("p50", "p95", "p99"):
        value = result.metrics.get(f"{name}.{percentile}")
        word = "-" if value is None else _spelled(f"{name}.{percentile}", value)
        words.append(word if value is None or not answered or count >= enough(f"{name}.{percentile}") else f"({word})")
    return " / ".join(words)


def _plain(result: BenchResult, name: str) -> str:
    return f"{result.metrics[name]:.1f}" if name in result.metrics else "-"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f} %"


def _spelled(metric: str, value: float) -> str:
    if "." in metric and value >= 10:
        return f"{value:.2f} s"
    if "." in metric:
        return f"{1000 * value:.{0 if value >= 0.1 else 1}f} ms"
    return f"{100 * value:.3g} %" if metric == "errors" else f"{value:.1f}"

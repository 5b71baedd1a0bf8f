"""`vllm bench serve` as the load, its samples counted by our rules.

It writes each request's times (`--save-detailed`), so that percentiles, goodput and tokens a second are computed here
as for a load of ours. What stays different in vLLM 0.32: a request's end is its last chunk with text, not the stream's
end; in an open loop times begin when a request is sent, not when it was due; prompts are counted only where the engine
says so. Warm-up requests are the first one's repetition.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.release.bench.limits import Limit
from modelkit.release.bench.loads import Closed, Load
from modelkit.release.bench.measure import Extent
from modelkit.release.bench.result import BenchResult, Sample
from modelkit.release.bench.verdict import judged
from modelkit.release.bench.workload import Body, Workload
from modelkit.release.client import Target

_LAST = 12  # lines of what it printed


def measure(program: str, target: Target, workload: Workload, load: Load, *, extent: Extent,
            limits: Sequence[Limit] = (), environment: Mapping[str, str]) -> BenchResult:
    """One load, made by the `vllm` at `program`; `target` has an address of TCP. Raises Failure."""
    if extent.seconds is not None:
        raise Failure("usage", "`vllm bench serve` measures a number of requests, not seconds", hint="-n instead")
    with tempfile.TemporaryDirectory(prefix="modelkit-bench-") as folder:
        prompts, result = Path(folder) / "prompts.jsonl", Path(folder) / "result.json"
        bodies = [workload.body(number) for number in range(extent.requests)]
        prompts.write_text("".join(json.dumps(_line(body)) + "\n" for body in bodies), "utf-8")
        words = [*command(program, target, load, extent=extent, prompts=prompts, result=result),
                 "--extra-body", json.dumps(_answers(bodies))]
        _run(words, {**environment, "OPENAI_API_KEY": target.key or "none"})
        try:
            said = json.loads(result.read_bytes())
            samples, seconds = read(said)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Failure("bench-tool", f"vllm wrote no result that can be read: {error}") from None
    notes = (*workload.notes, "loaded by `vllm bench serve`: e2e ends with the last token")
    return judged(load, samples, seconds, limits, notes=notes).model_copy(update={"tool": "vllm"})


def command(program: str, target: Target, load: Load, *, extent: Extent, prompts: Path, result: Path
            ) -> list[str]:
    """The command line. No tokenizer: the engine counts."""
    words = [program, "bench", "serve", "--backend", "openai-chat", "--base-url", target.base_url.removesuffix("/v1"),
             "--endpoint", "/v1/chat/completions", "--model", target.model, "--skip-tokenizer-init",
             "--dataset-name", "custom", "--dataset-path", str(prompts), "--custom-output-len", "-1",
             "--skip-chat-template", "--disable-shuffle", "--num-prompts", str(extent.requests), "--num-warmups",
             str(extent.before(load)), "--disable-tqdm", "--save-result", "--save-detailed", "--result-dir",
             str(result.parent), "--result-filename", result.name]
    if isinstance(load, Closed):
        return [*words, "--max-concurrency", str(load.concurrency)]
    return [*words, "--request-rate", f"{load.rate:g}", "--burstiness", "1.0" if load.poisson else "1000000"]


def read(said: Mapping[str, Any]) -> tuple[tuple[Sample, ...], float]:
    """Samples and seconds of what `--save-detailed` wrote. Raises KeyError, TypeError or ValueError for another file.
    """
    starts = said.get("start_times") or [0.0] * len(said["ttfts"])
    begin = min(starts, default=0.0)
    found = []
    for start, first, gaps, tokens, prompt, error in zip(
            starts, said["ttfts"], said["itls"], said["output_lens"], said["input_lens"], said["errors"], strict=True):
        shown = not error and first
        found.append(Sample(
            due=round(start - begin, 6), ttft=round(first, 6) if shown else None,
            itl=tuple(round(gap, 6) for gap in gaps) if shown else (), e2e=round(first + sum(gaps), 6),
            tokens=tokens if shown else None, prompt_tokens=prompt or None,
            error=str(error).strip().rpartition("\n")[2] if error else None if first else "no token came"))
    return tuple(found), float(said["duration"])


def _answers(bodies: Sequence[Body]) -> dict[str, Any]:
    """What all requests say of their answers. Without a tokenizer vLLM asks for one token by itself."""
    lengths = {body.get("max_tokens", 64) for body in bodies}
    if len(lengths) > 1:
        raise Failure("usage", "`vllm bench serve` asks for answers of one length", hint="--answer-tokens 64")
    return {"max_completion_tokens": lengths.pop(), **({"ignore_eos": True} if bodies[0].get("ignore_eos") else {})}


def _line(body: Body) -> dict[str, Any]:
    messages = body["messages"]
    if len(messages) != 1 or not isinstance(messages[0].get("content"), str):
        raise Failure("usage", "`vllm bench serve` asks single messages of text", hint="without --with, conversations "
                      "are asked, too")
    return {"prompt": messages[0]["content"], "output_tokens": body.get("max_tokens", 64)}


def _run(words: Sequence[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(words, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace", check=False)
    except OSError as error:
        raise Failure("bench-tool", f"cannot start {words[0]}: {(error.strerror or str(error)).lower()}") from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.strip()][-_LAST:]
        if missing := re.search(r"No module named '(\w+)'", lines[-1] if lines else ""):
            raise Failure("bench-tool", f"this vLLM lacks what `vllm bench` needs: {missing[1]}",
                          hint="put a `vllm` on PATH that was installed as `vllm[bench]`")
        raise Failure("bench-tool", f"`vllm bench serve` ended with status {done.returncode}", detail=tuple(lines))

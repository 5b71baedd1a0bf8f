"""What `modelkit fit` predicts of memory and speed, beside other tools, against what llama.cpp really takes.

    python -m benchmarks.fit MODEL.gguf [--tools FOLDER] [--speed] [--published]

Memory: at four lengths of context (llama.cpp's slot alone, steps of 512 tokens, a 16-bit cache), the model's, the
cache's and the computing buffer as llama.cpp says them, and the memory of a process that loaded the model, read a
prompt and answered. Speed: processor time of single steps in one thread, so that other programs do not count, against
what is predicted before and after one of the precisions was measured. FOLDER has the commands of other tools
(`modelinfo`, `mdl`, `modelfile-lint`, `ridgepoint`), each asked for the same model and context; what a tool does not
say is left out. A MODEL of which there is the header alone (a sparse file) has no process: `in all` is the sum of the
three then. Published: speeds of GPUs that others measured, where `ridgepoint` knows GPU and model, too. Numbers of
another kind, such as an overhead of CUDA on a machine without a GPU, are shown as the tool prints them.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from modelkit.models.anatomy import Anatomy, anatomy_of_header
from modelkit.models.formats.gguf import Header
from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit import llama_cpp
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.serving import Serving
from modelkit.runtime.llama_probe import probe

CONTEXTS, LONG = (512, 2048, 4096, 8192), (8192, 32768, 131072)
MIB = 1 << 20

CHILD = """
import ctypes, sys, time
import llama_cpp as l
path, context, threads, cases = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(",")
silent = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
l.llama_backend_init(); l.llama_log_set(silent, None)
model = l.llama_model_load_from_file(path.encode(), l.llama_model_default_params())
words = l.llama_vocab_n_tokens(l.llama_model_get_vocab(model))
def made(tokens, users=1):
    p = l.llama_context_default_params()
    p.n_ctx, p.n_batch, p.n_ubatch, p.n_seq_max, p.kv_unified = tokens, 512, 512, users, True
    p.n_threads = p.n_threads_batch = threads
    if hasattr(p, "n_outputs_max"): p.n_outputs_max = max(users, 1)
    return l.llama_init_from_model(model, p)
def run(at, tokens, first, users=1):
    b = l.llama_batch_init(tokens * users, 0, 1)
    for i in range(tokens * users):
        b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0] = (i * 7 + first) % words, first + i // users, 1, i % users
        b.logits[i] = users > 1 or i == tokens - 1
    b.n_tokens = tokens * users
    assert l.llama_decode(at, b) == 0
    l.llama_synchronize(at); l.llama_batch_free(b)
def fill(at, tokens):
    for first in range(0, tokens, 512): run(at, min(512, tokens - first), first)
def timed(times, what):
    found = []
    for turn in range(times):
        began = time.process_time(); what(turn); found.append(time.process_time() - began)
    return min(found)
for case in cases:
    kind, number = case[0], int(case[1:])
    at = made(max(256, {"m": context, "b": 64 * number}.get(kind, number + 64)), number if kind == "b" else 1)
    if kind == "m":
        fill(at, min(512, context - 8)); run(at, 1, min(512, context - 8))
        text = open("/proc/self/status").read()
        print(case, text.split("VmRSS:")[1].split()[0])
    elif kind == "d":
        fill(at, number); run(at, 1, number)
        print(case, timed(12, lambda turn: run(at, 1, number + 1 + turn)))
    elif kind == "b":
        run(at, 1, 0, number)
        print(case, timed(6, lambda turn: run(at, 1, 1 + turn, number)))
    else:
        print(case, timed(2, lambda turn: (l.llama_memory_clear(l.llama_get_memory(at), True), fill(at, number))))
    l.llama_free(at)
"""


@dataclass(frozen=True)
class Said:
    """MiB that a tool says of one context; None where it says nothing of it."""

    weights: float | None
    cache: float | None
    computing: float | None
    whole: float | None
    steps: int = 512  # tokens that it takes a step to have


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--tools", type=Path, help="folder with other tools' commands")
    parser.add_argument("--speed", action="store_true", help="speed, too; files beside the model with its precision's "
                        "name in another's place are measured as well")
    parser.add_argument("--published", action="store_true", help="published speeds of GPUs, too")
    said = parser.parse_args()
    memory(said.model, said.tools)
    if said.speed:
        speeds(said.model)
    if said.published:
        published(said.tools)


def memory(model: Path, tools: Path | None) -> None:
    """One row a tool and context."""
    header = read_header(model)
    anatomy = anatomy_of_header([header])
    hollow = model.stat().st_blocks * 512 < model.stat().st_size // 2
    servings = [serving(context) for context in (LONG if hollow else CONTEXTS)]
    sizes = probe([sys.executable], [header], servings)
    print("| context | who | weights | cache | computing | in all |\n|---|---|---|---|---|---|")
    errors: dict[str, list[float]] = {}
    for one, asked in zip(servings, sizes, strict=True):
        computing = (sum(asked.compute.values()) + asked.output) / MIB
        weights, cache = anatomy.weight_bytes / MIB, asked.kv / MIB
        whole = weights + cache + computing if hollow else int(measured(model, one.context_length, ["m0"])["m0"]) / 1024
        truth = Said(weights, cache, computing, whole)
        print(f"| {one.context_length} | llama.cpp | {_row(truth)} |")
        for name, told in told_by(model, anatomy, one, tools, process=not hollow):
            true = _in_steps(truth, header, one, told.steps)
            print(f"| | {name}{f', steps of {told.steps}' if told.steps != truth.steps else ''} | {_row(told, true)} |")
            if told.whole is not None and true.whole is not None:
                errors.setdefault(name, []).append(abs(told.whole / true.whole - 1))
    print("\n| who | median error of the whole | largest |\n|---|---|---|")
    for name, found in sorted(errors.items(), key=lambda each: statistics.median(each[1])):
        print(f"| {name} | {statistics.median(found):.1%} | {max(found):.1%} |")


def _in_steps(truth: Said, header: Header, one: Serving, steps: int) -> Said:
    """What is true where steps are longer, as a tool proposes them."""
    if steps == truth.steps or truth.cache is None or truth.computing is None or truth.whole is None:
        return truth
    (asked,) = probe([sys.executable], [header], [replace(one, batch=steps)])
    computing, cache = (sum(asked.compute.values()) + asked.output) / MIB, asked.kv / MIB
    more = cache - truth.cache + computing - truth.computing
    return replace(truth, computing=computing, cache=cache, whole=truth.whole + more)


def serving(context: int) -> Serving:
    """One slot, as `llama-server -np 1` would have it, in a process of Python."""
    return Serving("llama.cpp", context, 1, "f16", provider="llama-cpp-python", kv_tokens=context, batch=512,
                   sequences=1, outputs=1)


def told_by(model: Path, anatomy: Anatomy, one: Serving, tools: Path | None, *, process: bool
            ) -> Iterator[tuple[str, Said]]:
    lines: defaultdict[str, float] = defaultdict(float)
    for line in llama_cpp.budget(anatomy, one, Hardware("")).lines:
        lines["cache" if "cache" in line.name or "state" in line.name else line.name] += line.size / MIB
    # the process here is a bare Python with llama_cpp, not our engine: its own share is what it has before a model
    buffers = lines["weights"], lines["cache"], lines["compute"] + lines["output"]
    yield "modelkit", Said(*buffers, sum(buffers) + (lines["vocabulary"] + bare() if process else 0))
    for name, asks in (("modelinfo", _modelinfo), ("mdl", _mdl), ("modelfile-lint", _modelfile_lint)):
        if tools is not None and (tools / name).is_file():
            try:
                yield name, asks(tools / name, model, one.context_length)
            except (OSError, ValueError, KeyError, IndexError, subprocess.SubprocessError) as error:
                print(f"{name}, {one.context_length} tokens: nothing ({error!r})", file=sys.stderr)


def bare() -> float:
    """MiB of a Python that has imported llama_cpp and nothing else."""
    code = "import llama_cpp; print(open('/proc/self/status').read().split('VmRSS:')[1].split()[0])"
    return int(_output([sys.executable, "-c", code])) / 1024


def measured(model: Path, context: int, cases: list[str], threads: int = 1) -> dict[str, str]:
    """What a child saw of each case, as it printed it."""
    text = _output([sys.executable, "-c", CHILD, str(model), str(context), str(threads), ",".join(cases)])
    return dict(line.split() for line in text.splitlines())


def _modelinfo(program: Path, model: Path, context: int) -> Said:
    text = _output([str(program), str(model), "--context", str(context)])
    weights, cache, whole = (_mib(*re.findall(pattern, text)[0]) for pattern in (
        r"Weights:\s+([\d,.]+) (.)B", r"KV Cache:\s+([\d,.]+) (.)B", r"~([\d,.]+) (.)B Total"))
    return Said(weights, cache, None, whole)


def _mib(number: str, unit: str) -> float:
    """It writes MB and GB for units of 1024."""
    return float(number.replace(",", "")) * {"M": 1, "G": 1024}[unit]


def _mdl(program: Path, model: Path, context: int) -> Said:
    """Its proposal with a 16-bit cache, without the process itself, of which it says nothing."""
    text = _output([str(program), "fit", str(model), "--json", "--profile", "chat", "--kv-floor", "f16", "--min-ctx",
                    str(context), "--max-ctx", str(context), "--no-oracle"])
    found = {one["flags"]["ctx"]: one for one in json.loads(text)["picks"]}[context]
    parts = {name: size / MIB for name, size in found["memory"].items() if isinstance(size, int)}
    weights, cache, computing = parts["host_weights"], parts["host_kv"], parts["host_compute"]
    return Said(weights, cache, computing, weights + cache + computing, found["flags"]["ub"])


def _modelfile_lint(program: Path, model: Path, context: int) -> Said:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Modelfile"
        path.write_text(f"FROM {model}\nPARAMETER num_ctx {context}\n", "utf-8")
        text = _output([str(program), "--json", str(path)])
    weights, cache, whole = (float(re.findall(pattern, text)[0]) * 1024 for pattern in (  # it means GiB
        r"([\d.]+) GB weights", r"([\d.]+) GB KV", r"~([\d.]+) GB total"))
    return Said(weights, cache, None, whole)


def speeds(model: Path) -> None:
    """Steps of one thread in several precisions: what is measured, and what is predicted before and after the first of
    them was measured."""
    from modelkit.planning.fit.calibration import Point
    from modelkit.planning.fit.speed import uncalibrated
    from modelkit.planning.fit.steps import prompt_terms, step_terms
    from modelkit.planning.fit.work import Step
    from modelkit.runtime.hardware import here

    machine = here()
    cases = {"d0": (1, 0), "d1024": (1, 1024), "b4": (4, 4), "p256": (0, 256)}
    points: dict[tuple[str, str], Point] = {}
    for path in sorted(model.parent.glob(f"{model.stem.rpartition('-')[0]}-*.gguf"), key=lambda one: one != model):
        anatomy = anatomy_of_header([read_header(path)])
        one = Serving("llama.cpp", 4096, 4, "f16", batch=512, threads=1)
        rounds = [measured(path, 4096, list(cases)) for _ in range(3)]
        for case, (users, context) in cases.items():
            terms = (step_terms(anatomy, one, machine, Step(users, 1, context)) if users
                     else prompt_terms(anatomy, one, machine, context))
            points[path.stem, case] = Point(terms, min(float(each[case]) for each in rounds))
    before = uncalibrated(machine, Serving("llama.cpp", 4096, 4, "f16"))
    after = before.learned(point for (name, _), point in points.items() if name == model.stem)
    print("\n| model | step | measured ms | before | | after | |\n|---|---|---|---|---|---|---|")
    inside = [0, 0]
    for (name, case), point in points.items():
        cells = []
        for place, belief in enumerate((before, after)):
            said = belief.seconds(point.terms)
            inside[place] += point.seconds in said
            cells.append(f"{said.low * 1e3:.1f} to {said.high * 1e3:.1f} | {said.expected / point.seconds - 1:+.0%}")
        print(f"| {name} | {case} | {point.seconds * 1e3:.1f} | {' | '.join(cells)} |")
    print(f"\ninside: {inside[0]} before, {inside[1]} after, of {len(points)}")


RIDGEPOINT = {"3090, Q4_0": ("rtx3090-24gb", "llamacpp", "q4_0", 1024),
              "4090 behind 32768 tokens": ("rtx4090-24gb", "llamacpp", "q4_0", 32768),
              "A100, bfloat16, vLLM 0.23": ("a100-40gb", "vllm", "fp16", 1024),
              "H100, float16, vLLM 0.21": ("h100-80gb", "vllm", "fp16", 1024)}
"""How it is asked for a published point of Llama-3-8B, the only model of them that it knows."""


def published(tools: Path | None) -> None:
    """Tokens a second that others measured, ours, and ridgepoint's."""
    from modelkit.planning.fit.profiles import profile
    from modelkit.planning.fit.speed import speed
    from tests.unit.fit.test_speed import POINTS

    print("\n| point | measured | modelkit | ridgepoint |\n|---|---|---|---|")
    for one in POINTS:
        found = speed(one.model, one.serving, profile(one.machine), prompt=16)
        assert found is not None
        ours = getattr(found, one.figure)
        cells = [f"{ours.low:.4g} to {ours.high:.4g}{'' if one.measured in ours else ', outside'}", "-"]
        if tools is not None and one.what in RIDGEPOINT and (tools / "ridgepoint").is_file():
            gpu, engine, kind, context = RIDGEPOINT[one.what]
            said = json.loads(_output([str(tools / "ridgepoint"), "fit", "llama-3-8b", "--gpu", gpu, "--engine", engine,
                                       "--dtype", kind, "--ctx", str(context), "--json"]))["speed"]["decode_tok_s"]
            outside = "" if said["low"] <= one.measured <= said["high"] else ", outside"
            cells[1] = f"{said['low']:.4g} to {said['high']:.4g}{outside}"
        print(f"| {one.point}: {one.what} | {one.measured:.4g} | {' | '.join(cells)} |")


def _row(said: Said, truth: Said | None = None) -> str:
    """MiB, with the error where there is a truth."""
    cells = []
    for name in ("weights", "cache", "computing", "whole"):
        value, real = getattr(said, name), getattr(truth, name) if truth else None
        cells.append("-" if value is None else f"{value:.1f}" if not real else f"{value:.1f} ({value / real - 1:+.1%})")
    return " | ".join(cells)


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


if __name__ == "__main__":
    main()

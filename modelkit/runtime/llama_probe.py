"""Asks llama.cpp how much it would allocate for a model, in a process that may end as it likes.

The engine's own Python answers (`modelkit.llamacpp.probe`), from a file that has the model's header and nothing else;
so it works for a model that is not on this machine, too. Answers are kept below the cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from modelkit.engines.sources import FOLDER, sources
from modelkit.failure import Failure
from modelkit.llamacpp.probe import Setting
from modelkit.models.anatomy import anatomy_of_header
from modelkit.models.formats.gguf import Header
from modelkit.models.formats.gguf_hollow import Hollow, hollow
from modelkit.places import place
from modelkit.planning.fit import llama_log
from modelkit.planning.fit.llama_sizes import Sizes
from modelkit.planning.fit.serving import Serving

SECONDS = 20.0
"""For all settings of a question; one takes about 20 ms beside the half second that Python and llama.cpp need."""

_STATES = 256 << 20
"""Bytes: llama.cpp allocates the states of recurrent layers even where it allocates nothing else."""

_SCHEMA = "modelkit.llama-sizes/1"


def probe(command: Sequence[str], headers: Sequence[Header], servings: Sequence[Serving], *, version: str = "",
          seconds: float = SECONDS) -> list[Sizes]:
    """What llama.cpp says of each serving, in their order. Raises nothing: `problem` says what is not known.

    `command` is the Python that has the engine, `headers` are of all parts of the model, `version` is the engine's.
    """
    questions = [_question(one) for one in servings]
    try:
        states = sum(one.state_bytes for one in anatomy_of_header(headers).layers)
        if states * max((one.sequences for one in servings), default=1) > _STATES:
            return [Sizes(problem="its states are too large to be allocated for a question")] * len(questions)
        model = hollow(headers)
        keys = [_key(model, one, version) for one in questions]
        known = {key: sizes for key in keys if (sizes := _kept(key)) is not None}
        missing = {key: one for key, one in zip(keys, questions, strict=True) if key not in known}
        if missing:
            answers = dict(zip(missing, _asked(command, model, list(missing.values()), seconds), strict=True))
            for key, sizes in answers.items():
                _keep(key, sizes)
            known |= answers
    except (OSError, ValueError, Failure) as error:
        return [Sizes(problem=str(error))] * len(questions)
    return [known[key] for key in keys]


def setting(serving: Serving) -> Setting:
    """A serving as a context of llama.cpp."""
    return Setting(tokens=serving.kv_tokens or serving.context_length * serving.concurrency,
                   sequences=serving.sequences, physical=serving.batch, outputs=serving.outputs,
                   kv_type=serving.kv_type, unified=serving.unified, flash_attention=serving.flash_attention,
                   full_windows=serving.full_windows, embeddings=serving.task != "chat")


def _question(serving: Serving) -> dict[str, Any]:
    return {"gpu_layers": serving.gpu_layers, **asdict(setting(serving))}


def _asked(command: Sequence[str], model: Hollow, questions: list[dict[str, Any]], seconds: float) -> list[Sizes]:
    """The answers, of as many children as it takes: one that a setting has ended is followed by another behind it."""
    found: list[Sizes] = []
    with tempfile.TemporaryDirectory(prefix="modelkit-fit-") as name:
        folder = Path(name)
        model.write(folder / "hollow.gguf")
        environment = _environment(command, folder)
        until = time.monotonic() + seconds
        while len(found) < len(questions):
            _, alike = next(itertools.groupby(questions[len(found):], lambda one: one["gpu_layers"]))
            same = list(alike)
            said, problem, gone = _child(command, folder, same, environment, until - time.monotonic())
            found += said
            if problem:
                hopeless = gone or time.monotonic() >= until
                found += [Sizes(problem=problem)] * (len(questions) - len(found) if hopeless else 1)
    return found


def _child(command: Sequence[str], folder: Path, questions: Sequence[dict[str, Any]], environment: dict[str, str],
           seconds: float) -> tuple[list[Sizes], str, bool]:
    """Answers; why there are not more of them; and whether there never will be."""
    asked = {"model": str(folder / "hollow.gguf"), "gpu_layers": questions[0]["gpu_layers"],
             "settings": [{key: one[key] for key in one if key != "gpu_layers"} for one in questions]}
    try:
        child = subprocess.run((command[0], "-P", "-m", "modelkit.llamacpp.probe"), input=json.dumps(asked).encode(),
                               capture_output=True, timeout=max(0.1, seconds), env=environment, cwd=folder,
                               check=False)
        status, out, trouble = child.returncode, child.stdout, child.stderr
    except subprocess.TimeoutExpired as late:
        status, out, trouble = None, late.stdout or b"", b""
    said = [_read(json.loads(line)) for line in out.decode("utf-8", "replace").splitlines() if line.endswith("}")]
    if len(said) >= len(questions):
        return said[:len(questions)], "", False
    if status is None:
        return said, "llama.cpp did not say its sizes in time", False
    last = trouble.decode("utf-8", "replace").strip().splitlines()[-1:]
    return said, last[0] if last else f"llama.cpp ended with status {status}", status > 0


def _environment(command: Sequence[str], folder: Path) -> dict[str, str]:
    """As an engine's: our sources where that Python has not got them, and no packages of a user."""
    kept = {name: value for name, value in os.environ.items() if name in _PASSED}
    if command[0] == sys.executable:
        return kept | {"PYTHONNOUSERSITE": "1"}
    for one in sources("contract", "llamacpp", says="The contract and the engine alone."):
        at = folder / one.path
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_text(one.content, "utf-8")
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONPATH": str(folder / FOLDER)}


_PASSED = ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def _read(answer: dict[str, str]) -> Sizes:
    if "log" not in answer:
        return Sizes(problem=answer.get("problem") or "llama.cpp does not say why", refused=True)
    said = llama_log.read(answer["log"])
    return Sizes(kv=sum(one.size for one in llama_log.caches(answer["log"])),
                 recurrent=sum(size for (_, kind), size in said.items() if kind == "RS"),
                 compute={where: size for (where, kind), size in said.items() if kind == "compute"},
                 output=sum(size for (_, kind), size in said.items() if kind == "output"))


def _key(model: Hollow, question: dict[str, Any], version: str) -> str:
    said = json.dumps([_SCHEMA, version, model.size, question], sort_keys=True).encode()
    return hashlib.sha256(hashlib.sha256(model.begin).digest() + said).hexdigest()


def _at(key: str) -> Path:
    return place("cache") / "fit" / "llama" / f"{key}.json"


def _kept(key: str) -> Sizes | None:
    with contextlib.suppress(OSError, ValueError, TypeError):
        return Sizes(**json.loads(_at(key).read_text("utf-8")))
    return None


def _keep(key: str, sizes: Sizes) -> None:
    """What llama.cpp said, also that it refuses; that it could not be asked is tried again."""
    if sizes.problem and not sizes.refused:
        return
    path = _at(key)
    with contextlib.suppress(OSError):  # a cache that can't be written is a question more
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(asdict(sizes)), "utf-8")
        draft.replace(path)

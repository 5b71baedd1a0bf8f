"""Answers kept in files by the digest of what was asked, so that tests run where no engine does.

A folder holds `cassettes.json`, which says what the answers were recorded with, and one file a request. A request's
digest covers everything that was sent but the model's name; the Modelfile's own part of the conversation is not sent,
so its digest is a part of the request's, and the folder, which keeps it, is refused when it has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from modelkit.failure import Failure
from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.release.client import Answer, ToolCall
from modelkit.release.testing.conversation import Asker
from modelkit.release.testing.similarity import Poster

SCHEMA = "modelkit.cassettes/1"
_LARGEST = 16 * 1024 * 1024  # bytes of one kept answer
_INDEX = "cassettes.json"
_NOT_RECORDED = "this was not recorded: run once with --record, and keep the folder"


@dataclass(frozen=True)
class Recorded:
    """What a folder's answers were recorded with."""

    meaning: str  # digest of what the Modelfile adds to each request
    dialect: str
    stage: str
    model: str
    engine: str | None = None
    digest: str | None = None
    profile: dict[str, Any] | None = None  # of the plan, where an engine of this machine was asked

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}


def meaning_of(modelfile: Modelfile, stage: str) -> str:
    """A digest of everything in a Modelfile that decides a stage's answers."""
    said = effective(modelfile, stage)
    parts: dict[str, Any] = {name: value.value for name in ("base", "quantize", "system", "template")
                             if (value := getattr(said, name)) is not None}
    parts |= {name: {key: one.value for key, one in getattr(said, name).items()} for name in ("parameters",)}
    parts |= {name: [one.value for one in getattr(said, name)] for name in ("stop", "messages", "adapters")}
    parts["thinking"] = one.value if (one := said.serve.get("thinking")) is not None else None
    return "sha256:" + hashlib.sha256(_canonical(parts)).hexdigest()


def digest_of(service: str, body: Mapping[str, Any]) -> str:
    """A request's digest. `service` tells the model that is tested, by its meaning, from a judge."""
    sent = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    return hashlib.sha256(_canonical({"service": service, "request": sent})).hexdigest()


@dataclass
class Recorder:
    """An asker whose answers are kept. Only whole answers are: a fault is not replayed."""

    asker: Asker
    folder: Path
    service: str = "model"
    written: set[str] = field(default_factory=set)

    async def chat(self, body: dict[str, Any]) -> Answer:
        answer = await self.asker.chat(body)
        if answer.error is None:
            digest = digest_of(self.service, body)
            kept = {"request": body, "answer": asdict(answer)}
            _write(self.folder / f"{digest}.json", json.dumps(kept, ensure_ascii=False, indent=1, sort_keys=True))
            self.written.add(digest)
        return answer


@dataclass
class PostRecorder:
    """An embeddings endpoint whose answers are kept."""

    poster: Poster
    folder: Path
    written: set[str]
    service: str = "embeddings"

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        status, answer = await self.poster.post(path, body)
        if status == 200:
            digest = digest_of(self.service, body)
            _write(self.folder / f"{digest}.json", json.dumps({"request": body, "answer": answer}, sort_keys=True))
            self.written.add(digest)
        return status, answer


@dataclass
class Player:
    """An asker that gives the kept answers, and an error for what was never asked."""

    folder: Path
    service: str = "model"

    async def chat(self, body: dict[str, Any]) -> Answer:
        try:
            return _answer(self._kept(body))
        except FileNotFoundError:
            return Answer(status=404, error=_NOT_RECORDED)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            return Answer(status=400, error=f"what was recorded cannot be read: {error}")

    async def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        try:
            return 200, self._kept(body)
        except (OSError, ValueError, KeyError, TypeError):
            return 404, {"error": {"message": _NOT_RECORDED}}

    def _kept(self, body: dict[str, Any]) -> Any:
        with (self.folder / f"{digest_of(self.service, body)}.json").open("rb") as file:
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise ValueError("it is larger than 16 MiB")
        return json.loads(data)["answer"]


def begin(folder: Path, recorded: Recorded) -> None:
    """Make the folder and say what its answers are recorded with. Raises Failure where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / _INDEX, json.dumps(recorded.as_json(), indent=2, sort_keys=True) + "\n")
    except OSError as error:
        raise Failure("cassettes", f"{folder} cannot be written: {(error.strerror or str(error)).lower()}") from None


def finish(folder: Path, written: set[str]) -> int:
    """Remove the answers that this run did not ask for; how many there were."""
    left = [path for path in folder.glob("*.json")
            if re.fullmatch(r"[0-9a-f]{64}", path.stem) and path.stem not in written]
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)


def open_folder(folder: Path, modelfile: Modelfile) -> Recorded:
    """What a folder was recorded with. Raises Failure when it is none, or when the Modelfile says something else."""
    try:
        value = json.loads((folder / _INDEX).read_bytes())
        if value.pop("schema") != SCHEMA:
            raise ValueError
        recorded = Recorded(**value)
        now = meaning_of(modelfile, recorded.stage)
    except FileNotFoundError:
        raise Failure("cassettes", f"{folder} holds no recorded answers",
                      f"`modelkit test --record {folder}` makes them, with an engine") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise Failure("cassettes", f"{folder / _INDEX} cannot be read", "record the folder anew") from None
    if now != recorded.meaning:
        raise Failure("cassettes-stale", f"the answers in {folder} were recorded with another Modelfile: its prompt, "
                      "parameters or model changed", f"record them anew: modelkit test --record {folder}", exit_code=1)
    return recorded


def _answer(value: dict[str, Any]) -> Answer:
    calls = tuple(ToolCall(**one) for one in value.pop("tool_calls"))
    return Answer(**{**value, "tool_calls": calls, "logprobs": tuple(value["logprobs"]), "gaps": tuple(value["gaps"])})


def _canonical(value: Any) -> bytes:
    """One spelling: sorted keys, no blanks; a float that is whole is that whole number, as JSON has but one kind."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), default=asdict).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8", errors="surrogatepass")
    temporary.replace(path)

"""Models of a Compose file: its `models:`, or services that run vLLM or llama.cpp.

Facts: compose-spec `models.md` (`model`, `context_size`, `runtime_flags`), `interpolation.md`; which engine runs a
model Docker Model Runner chooses by the form of its weights, so the flags are read as those of the engine that has
most of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelkit.exchange import flags
from modelkit.exchange.command_lines import STAGES, drafted
from modelkit.exchange.documents import Parsed, parse
from modelkit.exchange.draft import Draft
from modelkit.exchange.llama_server import docker_reference
from modelkit.exchange.losses import Account, one_line
from modelkit.exchange.shell import Command, EngineName, of_image, split
from modelkit.exchange.sources import Imported, Source
from modelkit.failure import Failure

_VARIABLE = re.compile(r"\$(?:(?P<escaped>\$)|\{(?P<name>[A-Za-z_]\w*)(?::?-(?P<default>[^}]*))?[^}]*\}|"
                       r"(?P<bare>[A-Za-z_]\w*))")
_ORIGIN = "a Compose file"


def read(source: Source) -> tuple[Imported, ...]:
    """A model for each entry of `models:`, else for each service that runs an engine."""
    parsed = parse(source.text, source.name)
    models = parsed.mapping("models")
    if models:
        return tuple(_one(key, parsed, source, ("models", key)) for key in models)
    services = [key for key in parsed.mapping("services") if _command(parsed, key, Account()) is not None]
    if not services:
        raise Failure("no-models", f"{source.name} has no `models:`, and no service of it runs vLLM or llama.cpp",
                      hint="is it the right file?")
    return tuple(_one(key, parsed, source, ("services", key)) for key in services)


def _one(key: str, parsed: Parsed, source: Source, path: tuple[str, str]) -> Imported:
    account = Account(line=parsed.line(*path))
    try:
        draft = _model(key, parsed, account, source.folder) if path[0] == "models" else \
            _service(key, parsed, account, source.folder)
        draft.name(source.called or key, said=f"{path[0]}.{key}")
        return Imported(key, draft.settled(), account.graded)
    except Failure as failure:
        return Imported(key, None, account.graded, failure)


def _model(key: str, parsed: Parsed, account: Account, folder: Path) -> Draft:
    entry = parsed.mapping("models", key)
    words = [word for one in _list(entry.get("runtime_flags")) for word in _split(_plain(one, account, key))]
    engine = _engine(words)
    draft = Draft(_ORIGIN, engine, STAGES[engine], account)
    if words:
        account.line = parsed.line("models", key, "runtime_flags")
        draft = drafted(Command(engine, tuple(words)), _ORIGIN, account, folder)
    account.line = parsed.line("models", key, "model")
    name = _plain(entry.get("model"), account, "model")
    if name:
        draft.base(docker_reference(name), said=f"model: {name}")
    if (size := entry.get("context_size")) is not None:
        account.line = parsed.line("models", key, "context_size")
        draft.parameter("num_ctx", _plain(size, account, "context_size"), said=f"context_size: {size}")
    for other in entry.keys() - {"model", "context_size", "runtime_flags"}:
        account.line = parsed.line("models", key, other)
        account.lost(f"{other}: {one_line(str(entry[other]), 40)}" if isinstance(entry[other], (str, int)) else other,
                     "Compose has no such setting of a model")
    _users(key, parsed, account)
    return draft


def _users(key: str, parsed: Parsed, account: Account) -> None:
    """The services that ask for the model: their variables are `modelkit env`'s."""
    for name, service in parsed.mapping("services").items():
        used = service.get("models") if isinstance(service, dict) else None
        if (isinstance(used, list) and key in used) or (isinstance(used, dict) and key in used):
            account.line = parsed.line("services", name, "models")
            account.unneeded(f"services.{name}.models.{key}", "`modelkit env` prints OPENAI_BASE_URL for it")


def _service(key: str, parsed: Parsed, account: Account, folder: Path) -> Draft:
    command = _command(parsed, key, account)
    assert command is not None  # read() has seen it
    draft = drafted(command, _ORIGIN, account, folder)
    known = {"image", "command", "entrypoint", "environment", "volumes", "ports"}
    for other in parsed.mapping("services", key).keys() - known:
        account.line = parsed.line("services", key, other)
        account.unneeded(f"services.{key}.{other}", "`PLATFORM compose` writes a service of its own")
    return draft


def _command(parsed: Parsed, key: str, account: Account) -> Command | None:
    """What a service runs, if that is an engine."""
    service = parsed.mapping("services").get(key)
    if not isinstance(service, dict) or not isinstance(service.get("image"), str):
        return None
    said = service.get("environment")
    variables = [f"{name}={value}" for name, value in said.items()] if isinstance(said, dict) else \
        [_plain(one, account, key) for one in _list(said)]
    entry = _words(service.get("entrypoint"), account, key)
    mounts = [_plain(one, account, key) for one in _list(service.get("volumes")) if isinstance(one, str)]
    ports = [_plain(one, account, key) for one in _list(service.get("ports")) if isinstance(one, (str, int))]
    words = [*entry[1:], *_words(service.get("command"), account, key)]
    return of_image(_plain(service["image"], account, key), words, entrypoint=entry[0] if entry else "",
                    variables=variables, mounts=mounts, ports=ports)


def _words(said: Any, account: Account, key: str) -> list[str]:
    if isinstance(said, str):
        return next(split(_plain(said, account, key).replace("\n", " ")), [])
    return [_plain(one, account, key) for one in _list(said)]


def _split(word: str) -> Iterator[str]:
    """`--ctx-size 4096` in one item, as people write it, is two words."""
    flag, blank, value = word.partition(" ")
    yield from (flag, value.strip()) if blank and flag.startswith("-") else (word,)


def _engine(words: list[str]) -> EngineName:
    engines: tuple[EngineName, ...] = ("llama-server", "vllm")
    return max(engines, key=lambda name: sum(one.flag is not None for one in flags.read(name, words).flags))


def _list(said: Any) -> list[Any]:
    return said if isinstance(said, list) else [] if said is None else [said]


def _plain(said: Any, account: Account, where: str) -> str:
    """A scalar as Compose reads it: `${NAME:-default}` is its default here, `$$` is `$`."""
    if isinstance(said, bool):
        return str(said).lower()
    if isinstance(said, Mapping) or said is None:
        return ""

    def put(found: re.Match[str]) -> str:
        if found["escaped"]:
            return "$"
        if found["default"] is not None:
            account.approximated(found[0], "its default, whatever the variable is elsewhere")
            return found["default"]
        account.lost(found[0], f"a variable without a default, in `{one_line(where, 40)}`")
        return found[0]

    return _VARIABLE.sub(put, str(said))

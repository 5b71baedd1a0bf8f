"""The flags of one version of an engine, as its own parser has them: read from the JSON files beside this one.

    {"engine": "vllm", "version": "0.33.0", "read": "parser", "source": "vllm-0.33.0.tar.gz sha256:…", "lists": {},
     "flags": [
    {"flag": "--max-model-len", "type": "int"},
    {"flag": "--enable-lora", "negations": ["--disable-lora", "--no-enable-lora"], "type": "bool"}
    ]}

One line a flag, sorted; what is empty, false or null is left out. `read` says how: `parser` (the engine's parser was
asked), `help` (what its `--help` prints) or `static` (its source was read, not run; defaults are then incomplete).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

Read = Literal["parser", "help", "static"]


@dataclass(frozen=True)
class Flag:
    """One flag. `aliases` mean the same, `negations` the opposite; `hidden` ones among them are left out of its help.

    `type` is int, float, str, json, or bool for a flag without a value. `nargs` is argparse's (None: one value).
    """

    flag: str
    aliases: tuple[str, ...] = ()
    negations: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    type: str = "str"
    nargs: str | int | None = None
    choices: tuple[str | int | float, ...] = ()
    default: Any = None
    deprecated: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        return (self.flag, *self.aliases, *self.negations)

    def as_json(self) -> dict[str, Any]:
        said = {key: value for key, value in asdict(self).items() if value is not None and value != ()}
        return said if self.deprecated else {key: value for key, value in said.items() if key != "deprecated"}


@dataclass(frozen=True)
class FlagTable:
    """All flags of one version. `lists` are names that a flag's value may have and no parser checks (`tool_parsers`).

    `gone` are words that the engine refuses with a sentence of its own, and what it says to take instead.
    """

    engine: str
    version: str
    read: Read
    source: str
    flags: tuple[Flag, ...]
    lists: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gone: Mapping[str, str] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.engine, self.version))

    @cached_property
    def by_word(self) -> Mapping[str, Flag]:
        return {word: flag for flag in self.flags for word in flag.words}

    def text(self) -> str:
        """As the file has it; same table, same bytes."""
        head: dict[str, Any] = {"engine": self.engine, "version": self.version, "read": self.read,
                                "source": self.source}
        for name, value in (("lists", {k: list(v) for k, v in sorted(self.lists.items())}),
                            ("gone", dict(sorted(self.gone.items())))):
            if value:
                head[name] = value
        lines = ",\n".join(json.dumps(flag.as_json(), ensure_ascii=False)
                           for flag in sorted(self.flags, key=lambda one: one.flag))
        return json.dumps(head, ensure_ascii=False)[:-1] + f', "flags": [\n{lines}\n]}}\n'


def parse(text: str) -> FlagTable:
    """The table that a file's text holds."""
    said = json.loads(text)
    return FlagTable(said["engine"], said["version"], said["read"], said["source"],
                     tuple(_flag(row) for row in said["flags"]),
                     {name: tuple(names) for name, names in said.get("lists", {}).items()}, said.get("gone", {}))


def _flag(row: Mapping[str, Any]) -> Flag:
    lists = {name: tuple(row.get(name, ())) for name in ("aliases", "negations", "hidden", "choices")}
    return Flag(**{**row, **lists})


_ALIKE = {"vllm": 2, "tensorrt-llm": 2, "sglang": 3, "llama-server": 1, "llama-cpp-python": 1}
"""How many parts of two versions agree where their flags do: vLLM's fixes (0.32.1) add none."""


def filed(engine: str, version: str = "") -> str:
    """The name that facts of an engine are filed under. llama.cpp's are llama-server's by its build, but for our own
    engine's, whose version is llama-cpp-python's (`0.3.36`)."""
    if engine != "llama.cpp":
        return engine
    return "llama-cpp-python" if _order(version)[:1] == (0,) else "llama-server"


@cache
def versions(engine: str) -> tuple[str, ...]:
    """The versions that a table is shipped for, the oldest first."""
    start = f"{filed(engine)}-"
    found = [name.removeprefix(start).removesuffix(".json")
             for name in (one.name for one in files(__package__).iterdir())
             if name.startswith(start) and name.endswith(".json")]
    return tuple(sorted((one for one in found if one[:1].isdigit()), key=_order))


@cache
def table(engine: str, version: str) -> FlagTable | None:
    """The flags of that version; None where no table is shipped that is sure to fit."""
    name = filed(engine, version)
    asked = _parts(name, version)
    alike = _ALIKE.get(name, 3)
    fitting = [one for one in versions(name) if _order(one)[:alike] == asked[:alike]]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: (_order(one) != asked, _order(one) > asked, _order(one)))
    return parse(files(__package__).joinpath(f"{name}-{best}.json").read_text("utf-8"))


def build(version: str) -> str:
    """The number of llama.cpp's build in the version of a package of it (`2026.10.11549`), or as it is."""
    return version.rpartition(".")[2]


def newer(engine: str, version: str) -> tuple[str, ...]:
    """The versions with a table above this one, the next first."""
    asked = _parts(filed(engine), version)
    return tuple(one for one in versions(engine) if _order(one) > asked)


def _parts(name: str, version: str) -> tuple[int, ...]:
    return _order(build(version) if name == "llama-server" else version)


def _order(version: str) -> tuple[int, ...]:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version).release
    except InvalidVersion:
        return ()


def words(tables: Iterable[FlagTable]) -> frozenset[str]:
    """Every word that any of the tables knows."""
    return frozenset(word for one in tables for word in one.by_word)

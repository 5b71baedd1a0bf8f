"""Golden files: cases in YAML beside a Modelfile, `*.golden.yaml`. What they may say is in docs/testing.md."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from modelkit.failure import Failure
from modelkit.language.parameters import PARAMETERS
from modelkit.release.testing.case import FIELDS, Call, Case, Place, Turn, request_fields, with_answers
from modelkit.release.testing.files import presume_tools, read_tools
from modelkit.release.testing.golden_checks import CheckReader
from modelkit.release.testing.yaml_page import Page

SCHEMA = "modelkit.golden/1"
_SUFFIXES = (".golden.yaml", ".golden.yml")
_MOST_REPEATS, _MOST_CASES = 1000, 10_000
_CASE = ("name", "turns", "user", "tools", "parameters", "repeat", "pass", "expect")
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class GoldenFile:
    """One file. `recorded` is the digest of what its answers were recorded with, `spots` where its exact texts stand:
    an offset and the one after, by the check's place."""

    path: Path
    page: Page
    cases: tuple[Case, ...]
    recorded: str | None = None
    recorded_at: tuple[int, int] = (0, 0)
    spots: Mapping[Place, tuple[int, int]] = field(default_factory=dict)


def golden_files(modelfile: Path) -> tuple[Path, ...]:
    """Those beside a Modelfile, by name.

    `support.golden.yaml` and `support.refunds.golden.yaml` are `support.Modelfile`'s where there is such a file; the
    others are those of the folder's `Modelfile`.
    """
    folder = modelfile.absolute().parent
    names = sorted(path for suffix in _SUFFIXES for path in folder.glob(f"*{suffix}") if path.is_file())
    owners = {path.name[: -len(".Modelfile")] for path in folder.glob("*.Modelfile")}
    own = modelfile.name.removesuffix(".Modelfile") if modelfile.name.endswith(".Modelfile") else None
    stems = {path: path.name.partition(".golden.")[0] for path in names}
    if own is not None:
        return tuple(path for path, stem in stems.items() if stem == own or stem.startswith(f"{own}."))
    return tuple(path for path, stem in stems.items() if not any(stem == o or stem.startswith(f"{o}.") for o in owners))


def read_golden(path: Path, name: str | None = None) -> GoldenFile:
    """A file's cases. Raises Failure (exit 1) with the place of the first mistake."""
    page = Page.read(path)
    return parse_golden(path, page if name is None else Page(name, page.text))


def parse_golden(path: Path, page: Page) -> GoldenFile:
    """The cases of a text that stands, or shall stand, in a file. Raises Failure as `read_golden`."""
    return _Reader(path, page).read()


class _Reader:
    def __init__(self, path: Path, page: Page) -> None:
        self._path, self._page = path, page
        self._checks = CheckReader(page, path.absolute().parent)

    def read(self) -> GoldenFile:
        page, root = self._page, self._page.root()
        said = page.mapping(root, ("schema", "recorded", "cases"), ("schema", "cases"))
        if (schema := page.text_of(said["schema"])) != SCHEMA:
            raise page.wrong(said["schema"], f"the schema is `{schema}`; this release reads `{SCHEMA}`")
        nodes = page.sequence(said["cases"], "cases")
        if len(nodes) > _MOST_CASES:
            raise page.wrong(said["cases"], f"there are {len(nodes)} cases; a file may have {_MOST_CASES}")
        cases: dict[str, Case] = {}
        for node in nodes:
            case = self._case(node)
            if case.name in cases:
                raise page.wrong(node, f"there are two cases called `{case.name}`")
            cases[case.name] = case
        recorded, at = None, (said["schema"].end_mark.index,) * 2
        if (written := said.get("recorded")) is not None:
            recorded, at = page.text_of(written), (written.start_mark.index, written.end_mark.index)
        return GoldenFile(self._path, page, tuple(cases.values()), recorded, at, self._checks.spots)

    def _case(self, node: yaml.Node) -> Case:
        page = self._page
        said = page.mapping(node, _CASE, ("name",))
        if ("turns" in said) == ("user" in said):
            raise page.wrong(node, "a case has either `turns`, or one question of the `user`")
        checks = self._checks.read_all(said["expect"]) if "expect" in said else ()
        turns = self._turns(said["turns"]) if "turns" in said else [Turn("user", page.text_of(said["user"]))]
        if not any(turn.role == "user" for turn in turns):
            raise page.wrong(said["turns"], "no `user` says anything")
        turns_ = with_answers(turns, checks)
        if not any(turn.checks for turn in turns_):
            raise page.wrong(node, "nothing is expected of the answers", "add `expect:` with a list of checks")
        repeat = page.whole(said["repeat"], 1, _MOST_REPEATS) if "repeat" in said else 1
        must = page.whole(said["pass"], 1, repeat) if "pass" in said else repeat
        return Case(page.text_of(said["name"]), page.place(node), turns_, self._tools(said.get("tools")),
                    self._parameters(said.get("parameters")), repeat, must)

    def _turns(self, node: yaml.Node) -> list[Turn]:
        turns: list[Turn] = []
        for one in self._page.sequence(node, "turns"):
            said = self._page.mapping(one, _ROLES)
            if len(said) != 1:
                raise self._page.wrong(one, "a turn is one of system, user, assistant, tool, and its text")
            role, value = next(iter(said.items()))
            turn = self._assistant(value) if role == "assistant" else Turn(role, self._page.text_of(value))  # type: ignore[arg-type]
            before = turns[-1] if turns else None
            if turn.role == "tool" and (before is None or before.role == "system"
                                        or (before.role == "assistant" and not (before.calls or before.asked))):
                raise self._page.wrong(one, "this tool's result answers no call",
                                       "before it, a `user` asks or an `assistant` has `calls`")
            turns.append(turn)
        return turns

    def _assistant(self, node: yaml.Node) -> Turn:
        """A given answer, given calls, or what is expected of the model's own answer here."""
        if not isinstance(node, yaml.MappingNode):
            return Turn("assistant", self._page.text_of(node))
        said = self._page.mapping(node, ("expect", "calls", "content"))
        if "expect" in said:
            if len(said) > 1:
                raise self._page.wrong(node, "an answer is either given, or expected of the model")
            return Turn("assistant", checks=self._checks.read_all(said["expect"]))
        content = self._page.text_of(said["content"]) if "content" in said else None
        calls = tuple(self._call(one) for one in self._page.sequence(said["calls"], "calls")) if "calls" in said else ()
        if content is None and not calls:
            raise self._page.wrong(node, "this answer says nothing")
        return Turn("assistant", content, calls)

    def _call(self, node: yaml.Node) -> Call:
        said = self._page.mapping(node, ("name", "arguments"), ("name",))
        arguments = self._page.value_of(said["arguments"]) if "arguments" in said else {}
        if not isinstance(arguments, dict):
            raise self._page.wrong(said["arguments"], "arguments are a mapping")
        return Call(self._page.text_of(said["name"]), json.dumps(arguments, ensure_ascii=False))

    def _tools(self, node: yaml.Node | None) -> tuple[Mapping[str, Any], ...]:
        if node is None:
            return ()
        place = self._page.place(node)
        if isinstance(node, yaml.ScalarNode):
            return read_tools(self._path.absolute().parent / self._page.text_of(node), place)
        return presume_tools(self._page.value_of(node), place, "this")

    def _parameters(self, node: yaml.Node | None) -> dict[str, Any]:
        """Of a request, checked as PARAMETER checks them."""
        if node is None:
            return {}
        said = self._page.mapping(node, (*FIELDS, "stop"))
        found: dict[str, Any] = {}
        for name, value in said.items():
            if name == "stop":
                stops = value.value if isinstance(value, yaml.SequenceNode) else [value]
                found["stop"] = [self._page.text_of(one) for one in stops]
                continue
            read = PARAMETERS[name].kind.read(str(self._page.value_of(value)))
            if isinstance(read, tuple):
                raise self._page.wrong(value, f"`{name}` must be {read.must_be}")
            found |= request_fields({name: read})
        return found


def presume_names_differ(cases: tuple[Case, ...]) -> None:
    """Raise Failure for two cases of one name, wherever they are written: reports know them by it."""
    seen: dict[str, Case] = {}
    for case in cases:
        if (first := seen.setdefault(case.name, case)) is not case:
            raise Failure("duplicate-test", f"{case.place}: there is a test called `{case.name}` already",
                          f"the first one is at {first.place}; give one another name", exit_code=1)

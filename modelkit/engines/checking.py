"""What `modelkit check` says about a file's engines and their versions. Pure: looks at no machine.

For each stage that the file has: settings and flags that its engine's version lacks, what another version would change
among the flags that the file and its lowering use, and weaknesses that are known. The version is the lock's, else the
one that modelkit takes for the stage's range.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from modelkit.engines.advisories import GRAVE, Advisory, advisories
from modelkit.engines.flags import canonical, newer, problems, table, versions
from modelkit.engines.flags.compare import BREAKING, Change, changes_of, compare
from modelkit.engines.flags.table import FlagTable
from modelkit.engines.images import IMAGES, image_engine
from modelkit.engines.misfits import misfits
from modelkit.engines.requirements import SETS
from modelkit.engines.reserved import RESERVED
from modelkit.failure import Failure
from modelkit.language.diagnostic import Diagnostic, Rule, in_file_order
from modelkit.language.engine_words import DEFAULT_ENGINE, DEFAULT_PLATFORM
from modelkit.language.fixes import guess
from modelkit.language.layers import Effective, Layered, effective
from modelkit.language.modelfile import EngineChoice, Flag, Modelfile
from modelkit.language.rules.engine import (
    ENGINE_ADVISORY,
    ENGINE_VULNERABLE,
    FLAG_BREAKS_IN_RANGE,
    FLAG_CHANGES,
    FLAG_NOT_IN_ENGINE,
    FLAG_NOT_YOURS,
)
from modelkit.language.source import Span

if TYPE_CHECKING:
    from modelkit.planning.plan import Plan


@dataclass(frozen=True)
class _Stage:
    """One stage and the version that it is checked with. `span` is where its engine was chosen, or the FROM."""

    name: str
    engine: str
    specifier: str
    version: str
    span: Span
    flags: tuple[Layered[Flag], ...]
    container: bool
    others: tuple[str, ...] = ()  # versions of other providers of the engine that a machine may take as well


def findings(modelfile: Modelfile, locked: Mapping[str, str] | None = None) -> list[Diagnostic]:
    """In file order, one finding once however many stages share it. `locked` has versions of engines by stage."""
    found: dict[tuple[str, str, int], Diagnostic] = {}
    for name in modelfile.stages or ("dev",):
        said = effective(modelfile, name)
        stage = _stage(modelfile, said, (locked or {}).get(name, ""))
        if stage is None:
            continue
        for one in (*misfits(said, stage.engine), *_flags(stage), *_bumps(modelfile, stage), *_advisories(stage)):
            found.setdefault((one.rule.id, one.message, one.span.start), one)
    return in_file_order(found.values())


@lru_cache(maxsize=256)  # the files of one project say few ranges
def picked(engine: str, specifier: str) -> str:
    """The version that modelkit takes for a range: what it installs, else its image, else the newest it knows of."""
    return next(iter(_allowed(engine, specifier, _known(engine))), "")


def _known(engine: str) -> tuple[str, ...]:
    pinned = [one.version for one in SETS if one.engine == engine]
    images = [version for image in IMAGES.get(engine, ()) for version in image.versions]
    return tuple(dict.fromkeys((*pinned, *images, *reversed(versions(engine)))))


def _allowed(engine: str, specifier: str, known: Iterable[str]) -> Iterator[str]:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        allowed = SpecifierSet(specifier)
    except InvalidSpecifier:
        return
    yield from (one for one in known if allowed.contains(one, prereleases=True))


@lru_cache(maxsize=256)
def _tabled(engine: str, specifier: str) -> tuple[str, ...]:
    """The versions with a table that a range allows."""
    return tuple(_allowed(engine, specifier, versions(engine)))


def _stage(modelfile: Modelfile, said: Effective, locked: str) -> _Stage | None:
    choice = said.engine.value if said.engine else EngineChoice(DEFAULT_ENGINE[modelfile.kind(said.stage)])
    place = said.engine or said.base
    version = next(_allowed(choice.name, choice.version, filter(None, [locked])), "")  # a stale lock may name another
    others = versions(choice.name)[-1:] if choice.name == "llama.cpp" and not version else ()
    version = version or picked(choice.name, choice.version)
    if place is None or not version:
        return None
    platform = said.platform.value if said.platform else DEFAULT_PLATFORM
    return _Stage(said.stage, choice.name, choice.version, version, place.span, tuple(said.flags),
                  container=platform not in (DEFAULT_PLATFORM, "systemd") and choice.name in IMAGES, others=others)


def _flags(stage: _Stage) -> Iterator[Diagnostic]:
    for said in stage.flags:
        words = _words(said.value)
        if any(not [*problems(stage.engine, one, words)] for one in stage.others):
            continue
        for problem in problems(stage.engine, stage.version, words, RESERVED.get(stage.engine, ())):
            rule = FLAG_NOT_YOURS if problem.code == "flag-not-yours" else FLAG_NOT_IN_ENGINE
            bare = said.value.value is None and said.span.end - said.span.start == len(problem.word)
            fix = guess(said.span, problem.near) if problem.near and bare else None
            yield Diagnostic(rule, problem.message, said.span, problem.hint, fix=fix)


def _words(flag: Flag) -> tuple[str, ...]:
    return (flag.flag,) if flag.value is None else (flag.flag, flag.value)


def _bumps(modelfile: Modelfile, stage: _Stage) -> Iterator[Diagnostic]:
    """Every version with a table that the range allows, and the next one behind its end."""
    old = table(stage.engine, stage.version)
    if old is None or stage.engine.startswith("llama"):  # builds of llama.cpp are nobody's range
        return
    inside = [one for one in _tabled(stage.engine, stage.specifier) if one != old.version]
    outside = [one for one in newer(stage.engine, old.version) if one not in inside][:1]
    if not stage.specifier:
        inside, outside = [], list(newer(stage.engine, old.version)[:1])
    for version in (*inside, *outside):
        new = table(stage.engine, version)
        assert new is not None, "versions() names tables"
        for said in stage.flags:
            word = canonical(said.value.flag)
            for change in changes_of(word, old, new):
                if _matters(change, said.value.value):
                    yield _bump(stage, change, new, said.span, inside=version in inside, ours=False)
        breaking = [change for change in compare(old, new) if change.kind in BREAKING or change.kind == "type"]
        if breaking and (ours := _lowered(modelfile, stage)):  # a plan costs more than all the rest
            for change in breaking:
                if change.word in ours:
                    yield _bump(stage, change, new, stage.span, inside=version in inside, ours=True)


def _matters(change: Change, value: str | None) -> bool:
    """A changed default is nothing to a flag that has its value; a lost choice only to who chose it."""
    if change.kind == "choices":
        return value is not None and value in map(str, change.before) and value not in map(str, change.to)
    return change.kind != "default" or value is None


def _bump(stage: _Stage, change: Change, new: FlagTable, span: Span, *, inside: bool, ours: bool) -> Diagnostic:
    rule = FLAG_BREAKS_IN_RANGE if inside and change.kind in BREAKING else FLAG_CHANGES
    where = f"`{stage.specifier}` allows it" if inside else "not in the range" if stage.specifier else "not used now"
    message = f"there is no `{change.word}`" if change.kind == "removed" else change.message
    whose = ", which modelkit says itself for this stage" if ours else ""
    return Diagnostic(rule, f"in {stage.engine} {new.version} ({where}) {message}{whose}", span,
                      f"write `{change.to}` there" if change.kind in ("renamed", "hidden") and not ours else None)


def _lowered(modelfile: Modelfile, stage: _Stage) -> frozenset[str]:
    """The flags that modelkit itself says for this stage; none where no plan can be made without its model."""
    from modelkit import engines

    try:
        said = [word for word in engines.words(_plan(modelfile, stage)) if word.flag.startswith("-")]
    except (Failure, AssertionError, KeyError):
        return frozenset()
    authors = {canonical(one.value.flag) for one in stage.flags}
    return frozenset(canonical(word.flag) for word in said) - authors


def _plan(modelfile: Modelfile, stage: _Stage) -> Plan:
    """The stage's plan with an engine of that version and nothing else of the world."""
    from modelkit.planning.facts import Facts, Overrides
    from modelkit.planning.plan import Engine, ModelSource
    from modelkit.planning.resolve import resolve

    engine, image, source = Engine(name=stage.engine, provider="environment", version=stage.version, variant="cuda",
                                   command=(stage.engine,)), None, None
    if stage.container:
        engine, image = image_engine(stage.engine, f"=={stage.version}", None, None)
        source = ModelSource(kind="hub", name="organization/repository", revision="0" * 40)
    facts = Facts(engines={stage.engine: engine}, image=image, source=source, reference="hf://organization/repository")
    return resolve(modelfile, stage.name, facts, Overrides())


def _advisories(stage: _Stage) -> Iterator[Diagnostic]:
    known = [one for one in advisories(stage.engine, stage.version) if not one.unless]
    for one in known:
        yield _advisory(stage, one, ENGINE_VULNERABLE if one.severity in GRAVE else ENGINE_ADVISORY, stage.version)
    if not stage.specifier:
        return
    for version in sorted(_allowed(stage.engine, stage.specifier, _known(stage.engine)), key=_order):
        grave = [one for one in advisories(stage.engine, version) if not one.unless and one not in known]
        if version != stage.version and grave:
            yield _range(stage, version, grave)
            return  # the oldest one's fixes mend the others' too, or the next run says so


def _advisory(stage: _Stage, one: Advisory, rule: Rule, version: str) -> Diagnostic:
    rated = "not rated" if one.severity == "unrated" else one.severity
    return Diagnostic(rule, f"{stage.engine} {version} has {one.id} ({rated}): {one.summary}", stage.span,
                      f"allow {one.fixed} or later ({one.source})" if one.fixed else f"see {one.source}")


def _range(stage: _Stage, version: str, known: list[Advisory]) -> Diagnostic:
    fixes = sorted((one.fixed for one in known if one.fixed), key=_order)
    ids = ", ".join(one.id for one in known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
    return Diagnostic(ENGINE_ADVISORY, f"`{stage.specifier}` allows {stage.engine} {version}, which has {ids}",
                      stage.span, f"write `>={fixes[-1]}`" if fixes else None)


def _order(version: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(version).release

"""`modelkit history`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.release.history import Entry, History
    from modelkit.release.record import Record
    from modelkit.release.verification import Problem, Verified


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Tell the stories of a model's stages; 1 when something is not as it was written, or nothing served then."""
    from modelkit.release.history import all_of

    action = arguments.action
    if (arguments.word is None) != (action in ("list", "verify")):
        raise Failure("usage", f"`history {action}` takes {'no word' if arguments.word else 'a word'} after it",
                      hint="history at 2026-10-01, history show RECORD, history verify, or nothing")
    path = project.find(arguments.file)
    name = _model(path, arguments, terminal)
    if action == "verify":
        return _verify(path, name, arguments, terminal)
    told = [one for one in all_of(path, name) if arguments.stage in (None, one.records.stage)]
    if not told:
        of = f" of stage `{arguments.stage}`" if arguments.stage else ""
        raise Failure("no-history", f"{name} has no records{of}", hint="`modelkit promote` writes the first",
                      exit_code=1)
    return {"list": _list, "at": _at, "show": _one}[action](told, arguments, terminal)


def _model(path: Path, arguments: Namespace, terminal: Terminal) -> str:
    quiet = Terminal(quiet=True, stderr=terminal.stderr)
    given = project.remembered(path) | project.given(arguments, path)
    return str(project.load(path, quiet, given).name.value)


def _list(told: list[History], arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.release.record import now

    terminal.document({"schema": "modelkit.history/1", "stages": [_story(one, told, now()) for one in told]})
    for history in told:
        store = history.records
        terminal.data(f"{store.model}, stage {store.stage}")
        terminal.table(("WHEN", "WHAT", "VERSION", "WHO", "RECORD", "WHY"),
                       (_row(entry) for entry in reversed(history.chain)))
        for line in _standing(history, told, now()):
            terminal.data(f"  {line}")
    return 0


def _row(entry: Entry) -> tuple[str, ...]:
    record = entry.record
    what = f"{record.kind} {record.from_}" if record.kind in ("promote", "refuse") else record.kind
    serves = record.subject if record.kind in ("promote", "rollback") else None
    version = serves.ir if serves else record.about or "all"
    return (record.at, what, version.removeprefix("sha256:")[:12], record.actor.name, entry.id[7:15], _why(record))


def _why(record: Record) -> str:
    over = {one.gate for one in record.overrides}
    bad = [f"{one.id} {one.verdict}{', overridden' if one.id in over else ''}" for one in record.gates
           if one.verdict != "pass" and (one.required or one.verdict != "skipped")]
    said = [*([record.reason] if record.reason else []), *bad]
    return "; ".join(said) or (f"{len(record.gates)} gates passed" if record.gates else "")


def _standing(history: History, told: list[History], moment: str) -> Iterator[str]:
    """What counts now: what is live, on whose word, and what is kept out."""
    from modelkit.release.hold import standing

    if history.missing or history.others or history.strays:
        yield "not as it was written: `modelkit history verify` says what"
    if history.live is not None and history.live.record.subject is not None:
        yield f"live: version {history.live.record.subject.ir[7:19]} since {history.live.record.at}"
    for over in history.overrides(moment):
        yield f"overridden until {over.expires}: gate {over.gate}, by {over.actor}: {over.reason}"
    stands = standing(history, moment, told)
    if stands.held is not None:
        until = f" until {stands.held.record.until}" if stands.held.record.until else ""
        yield f"held{until} by {stands.held.record.actor.name}: {stands.held.record.reason}"
    for ir, entry in stands.kept_out.items():
        yield f"kept out: version {ir[7:19]}, {entry.record.kind} by {entry.record.actor.name}: {entry.record.reason}"


def _story(history: History, told: list[History], moment: str) -> dict[str, Any]:
    from modelkit.release.hold import standing

    stands = standing(history, moment, told)
    return {"model": history.records.model, "stage": history.records.stage, "head": history.head,
            "live": history.live.id if history.live else None, "held": stands.held.id if stands.held else None,
            "kept_out": {ir: entry.id for ir, entry in stands.kept_out.items()},
            "overrides": [one.model_dump(mode="json") for one in history.overrides(moment)],
            "records": [_document(one) for one in history.chain]}


def _document(entry: Entry) -> dict[str, Any]:
    return {"id": entry.id, "path": str(entry.path), "record": json.loads(entry.data)}


def _at(told: list[History], arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.release.history import instant

    moment = instant(arguments.word, end=True)
    found = {history.records.stage: history.at(moment) for history in told}
    terminal.document({"schema": "modelkit.served/1", "at": moment, "stages": {stage: _document(one) if one else None
                                                for stage, one in found.items()}})
    for history in told:
        entry = found[history.records.stage]
        stage = f"{history.records.model}, stage {history.records.stage}"
        if entry is None or entry.record.subject is None:
            terminal.data(f"{stage}: nothing was promoted by {moment}")
            continue
        subject, record = entry.record.subject, entry.record
        terminal.data(f"{stage}: version {subject.ir[7:19]}, {record.kind} at {record.at} by {record.actor.name}")
        terminal.data(f"  engine   {subject.engine.name} {subject.engine.version}")
        for one in subject.artifacts:
            terminal.data(f"  {one.id:<8} {one.uri} {one.tree}")
        if record.git is not None and record.git.commit:
            terminal.data(f"  commit   {record.git.commit}{' and changes beside it' if record.git.dirty else ''}")
        terminal.data(f"  record   {entry.path}")
    return 0 if any(found.values()) else 1


def _one(told: list[History], arguments: Namespace, terminal: Terminal) -> int:
    failures = list[Failure]()
    for history in told:
        try:
            entry = history.named(arguments.word)
        except Failure as failure:
            failures.append(failure)
            continue
        terminal.document(_document(entry))
        terminal.data(entry.data.decode().rstrip("\n"))
        return 0
    raise failures[0]


def _verify(path: Path, name: str, arguments: Namespace, terminal: Terminal) -> int:
    from modelkit.release import signature
    from modelkit.release.history import read, stages_of
    from modelkit.release.record import Records
    from modelkit.release.verification import Problem, Verified, verify

    stages = [one for one in stages_of(path, name) if arguments.stage in (None, one)]
    if not stages:
        raise Failure("no-history", f"{name} has no records to verify", hint="`modelkit promote` writes the first",
                      exit_code=1)
    done: dict[str, Verified] = {}
    for stage in stages:
        store = Records(path, name, stage)
        allowed = signature.signers(store.root, arguments.allowed_signers)
        try:
            done[stage] = verify(read(store), allowed, signed=arguments.signed, expected=arguments.head)
        except Failure as failure:
            if failure.code != "record-head":
                raise
            done[stage] = Verified(0, 0, (Problem("head", str(store.folder / "HEAD"), failure.message),), {})
    problems = [one for verified in done.values() for one in verified.problems]
    terminal.document({"schema": "modelkit.verified/1", "verified": not problems, "stages": {
        stage: {"records": one.records, "evidence": one.evidence, "signed": dict(one.signed),
                "problems": [problem.as_json() for problem in one.problems]} for stage, one in done.items()}})
    for stage, one in done.items():
        _say(stage, one, one.problems, terminal)
    return 1 if problems else 0


def _say(stage: str, verified: Verified, problems: tuple[Problem, ...], terminal: Terminal) -> None:
    signed = f", {len(verified.signed)} signed by {', '.join(sorted(set(verified.signed.values())))}" \
        if verified.signed else ", none of them signed: names are claims"
    if not problems:
        records = f"{verified.records} {'record' if verified.records == 1 else 'records'}"
        pieces = f"{verified.evidence} {'piece' if verified.evidence == 1 else 'pieces'}"
        terminal.data(f"stage {stage}: {records} and {pieces} of evidence are as they were written{signed}")
        return
    terminal.data(f"stage {stage}: {len(problems)} {'problem' if len(problems) == 1 else 'problems'}")
    for one in problems:
        terminal.data(f"  {one.path}: {one.message} [{one.kind}]")

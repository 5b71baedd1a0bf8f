"""Was anything in a stage's records changed, lost or added beside them?

The chain proves that what HEAD leads to is as it was written. That HEAD itself was not set back is shown by git, by a
signature of a later record, or by an id that somebody noted (`expected`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.failure import Failure
from modelkit.release.gates.evidence import Shelf
from modelkit.release.history import Entry, History
from modelkit.release.record import file_name
from modelkit.release.signature import Signers, path_of


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it was written. `kind` is a stable slug."""

    kind: str
    path: str
    message: str

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "path": self.path, "message": self.message}


@dataclass(frozen=True)
class Verified:
    """What was found. `signed` has the signer of each record whose signature is good, by the record's id."""

    records: int
    evidence: int
    problems: tuple[Problem, ...]
    signed: Mapping[str, str]


def verify(history: History, allowed: Signers | None = None, *, signed: bool = False,
           expected: str | None = None) -> Verified:
    """Walk the whole story. With `signed`, every record must be signed by somebody `allowed`."""
    entries = (*history.chain, *history.others)
    signers, bad = _signatures(history, allowed, must=signed)
    problems = (*_chain(history, expected), *(one for entry in entries for one in _entry(entry, history)), *bad)
    evidence = sum(gate.evidence is not None for entry in entries for gate in entry.record.gates)
    return Verified(len(entries), evidence, problems, signers)


def _chain(history: History, expected: str | None) -> Iterator[Problem]:
    head = str(history.records.folder / "HEAD")
    for stray in history.strays:
        yield Problem("unreadable", str(stray.path), stray.why)
    if history.head is None and history.others:
        yield Problem("head", head, "HEAD is missing, and there are records")
    if history.missing is not None:
        by = f"{history.chain[0].path.name} follows it" if history.chain else "HEAD names it"
        yield Problem("missing", head, f"record {history.missing} is not here as it was written: {by}")
    if history.chain:
        subject = history.chain[-1].record.subject
        wanted = f"{history.head} {subject.ir if subject else '-'}\n".encode()
        if (history.records.folder / "HEAD").read_bytes() != wanted:
            yield Problem("head", head, "HEAD is not spelled as its record is")
    follows = Counter(entry.record.prev for entry in (*history.chain, *history.others))
    for entry in history.others:
        fork = follows[entry.record.prev] > 1
        yield Problem("fork" if fork else "stray", str(entry.path),
                      "another record follows the same one, and HEAD leads to that" if fork else
                      "HEAD does not lead to it")
    for before, after in zip(history.chain, history.chain[1:], strict=False):
        if after.record.at < before.record.at:
            yield Problem("time", str(after.path), f"it is older ({after.record.at}) than the record that it follows")
    if expected and not any(one.id[7:].startswith(expected.removeprefix("sha256:")) for one in history.chain):
        yield Problem("expected", head, f"record {expected} is not in the chain")


def _entry(entry: Entry, history: History) -> Iterator[Problem]:
    record, path = entry.record, str(entry.path)
    stamp = record.at.replace("-", "").replace(":", "")
    if entry.path.name != f"{stamp}-{entry.id[7:15]}.json":
        yield Problem("changed", path, "its name is not that of its bytes: it was changed after it was written")
    elif record.encode() != entry.data:
        yield Problem("spelling", path, "its bytes are not the one spelling of what it says")
    if (file_name(record.model), record.to) != (file_name(history.records.model), history.records.stage):
        yield Problem("place", path, f"it is about stage `{record.to}` of {record.model}")
    shelf = Shelf(history.records.root)
    for gate in record.gates:
        if gate.evidence is not None and (why := shelf.fault(gate.evidence)):
            yield Problem("evidence", path, f"gate {gate.id}: {why}")


def _signatures(history: History, allowed: Signers | None, *, must: bool) -> tuple[dict[str, str], list[Problem]]:
    good, problems = dict[str, str](), list[Problem]()
    for entry in (*history.chain, *history.others):
        there = path_of(entry.path).is_file()
        if not there and not must:
            continue
        if allowed is None:
            if must:
                problems.append(Problem("signature", str(entry.path), "nobody is known who may sign"))
            continue
        try:
            good[entry.id] = allowed.signer(entry.path)
        except Failure as failure:
            if failure.code != "signature":
                raise
            problems.append(Problem("signature", str(entry.path), failure.message))
    return good, problems

"""Findings as SARIF 2.1.0 (OASIS), which code scanning services and editors read."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from modelkit import __version__
from modelkit.findings.examine import Examined
from modelkit.language.diagnostic import Diagnostic, Fix, Rule, Severity
from modelkit.language.source import Source, Span

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_FINGERPRINT = "modelkitFinding/v1"

Json = dict[str, Any]


def sarif(files: Sequence[Examined]) -> Json:
    """One run as a document. What a comment leaves out is in it too, as suppressed, with the comment's reason."""
    results = [result for one in files for result in _results(one)]
    rules = _rules(files)
    order = {rule["id"]: index for index, rule in enumerate(rules)}
    for result in results:
        result["ruleIndex"] = order[result["ruleId"]]
    driver = {"name": "modelkit", "version": __version__, "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results,
           "invocations": [{"executionSuccessful": True}],
           "artifacts": [{"location": {"uri": uri(one.source.name)}} for one in files]}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def uri(name: str) -> str:
    """A file's name as a URI: relative as it was given, so that a service finds it in the repository."""
    path = PurePath(name)
    return path.as_uri() if path.is_absolute() else quote(os.fsencode(path.as_posix()))


def _rules(files: Iterable[Examined]) -> list[Json]:
    """The rules that were broken, each once, by name."""
    found = (one.rule for file in files for one in (*file.found, *(ignored.diagnostic for ignored in file.ignored)))
    return [_rule(rule) for rule in sorted({rule.id: rule for rule in found}.values(), key=lambda rule: rule.id)]


def _rule(rule: Rule) -> Json:
    return {"id": rule.id, "shortDescription": {"text": rule.summary}, "fullDescription": {"text": rule.why},
            "help": {"text": f"{rule.why}\n\n{rule.help}"}, "defaultConfiguration": {"level": _LEVELS[rule.severity]},
            "properties": {"tags": [rule.family]}}


def _results(file: Examined) -> Iterable[Json]:
    seen: Counter[str] = Counter()
    every = [*((one, None) for one in file.found), *((one.diagnostic, one.reason) for one in file.ignored)]
    for one, reason in sorted(every, key=lambda pair: pair[0].span):
        yield _result(one, reason, file.source, seen)


def _result(one: Diagnostic, reason: str | None, source: Source, seen: Counter[str]) -> Json:
    text = one.message + (f"\n{one.hint}" if one.hint else "")
    result: Json = {"ruleId": one.rule.id, "level": _LEVELS[one.severity], "message": {"text": text},
                    "locations": [{"physicalLocation": _location(source, one.span)}],
                    "partialFingerprints": {_FINGERPRINT: _fingerprint(one, source, seen)}}
    if one.notes:
        result["relatedLocations"] = [
            {"message": {"text": note.message}}
            | ({"physicalLocation": _location(source, note.span)} if note.span else {}) for note in one.notes]
    if one.fix is not None:
        result["fixes"] = [_fix(one.fix, source)]
    if reason is not None:
        result["suppressions"] = [{"kind": "inSource"} | ({"justification": reason} if reason else {})]
    return result


def _fingerprint(one: Diagnostic, source: Source, seen: Counter[str]) -> str:
    """The same for the same finding when lines above it come and go: of the rule, the line's text and its turn."""
    line = source.line(source.line_column(one.span.start)[0]).strip()
    digest = hashlib.sha256(f"{one.rule.id}\0{one.message}\0{line}".encode("utf-8", "replace")).hexdigest()[:32]
    seen[digest] += 1
    return f"{digest}:{seen[digest]}"


def _location(source: Source, span: Span) -> Json:
    return {"artifactLocation": {"uri": uri(source.name)}, "region": _region(source, span)}


def _region(source: Source, span: Span) -> Json:
    (line, column), (last, end) = source.line_column(span.start), source.line_column(span.end)
    return {"startLine": line, "startColumn": column, "endLine": last, "endColumn": end,
            "charOffset": span.start, "charLength": span.end - span.start}


def _fix(fix: Fix, source: Source) -> Json:
    replacements = [{"deletedRegion": _region(source, edit.span), "insertedContent": {"text": edit.text}}
                    for edit in fix.edits]
    title = fix.title if fix.safe else f"{fix.title} (a guess)"
    return {"description": {"text": title},
            "artifactChanges": [{"artifactLocation": {"uri": uri(source.name)}, "replacements": replacements}]}

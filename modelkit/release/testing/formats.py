"""A report as text for people, JUnit XML, GitHub's annotations, and a Markdown summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from modelkit.release.testing.report import CaseResult, TestReport
from modelkit.release.verdict import Verdict

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_WORDS: dict[Verdict, str] = {"pass": "pass", "fail": "FAIL", "error": "ERROR", "skipped": "skip"}


def as_text(report: TestReport) -> Iterator[str]:
    """What is not a plain pass, each with its place and why; then flaky ones, the conditions and the count."""
    for case in report.cases:
        yield from _case_lines(case)
    yield from _flaky_lines(report)
    yield summary(report)
    conditions = report.conditions
    if conditions:
        how = ["greedy" if not conditions["sampled"] else f"greedy but for {len(conditions['sampled'])}",
               f"seed {conditions['seed']}", f"{conditions['concurrency']} at once"]
        if conditions["alone"]:
            how.append(f"{conditions['alone']} alone, since exact texts and times depend on the batch")
        yield "asked: " + ", ".join(how)


def summary(report: TestReport) -> str:
    """`3 passed, 1 failed of 4, 1 flaky, in 2.1 s`."""
    counts = [(report.passed, "passed"), (report.count("fail"), "failed"), (report.count("error"), "not answered"),
              (report.count("skipped"), "skipped")]
    said = ", ".join(f"{count} {what}" for count, what in counts if count or what == "passed")
    flaky = f", {len(report.flaky)} flaky" if report.flaky else ""
    return f"{said} of {report.total}{flaky}, in {report.seconds:.1f} s"


def _case_lines(result: CaseResult) -> Iterator[str]:
    if result.verdict == "pass" and not any(attempt.warnings for attempt in result.attempts):
        return
    times = f" ({result.passes} of {len(result.attempts)} passed, {result.needed} must)" if len(
        result.attempts) > 1 else ""
    yield visible(f"{_WORDS.get(result.verdict, result.verdict)} {result.case.name}{times}")
    bad = result.first_bad if result.verdict != "pass" else None
    if bad is not None and bad.error is not None:
        yield visible(f"  {result.case.place}: {bad.error}")
    for attempt in (bad,) if bad is not None else result.attempts[:1]:
        for one in attempt.checked:
            if one.outcome.verdict != "pass":
                soft = "warning: " if one.check.severity == "warn" else ""
                yield visible(f"  {one.check.place}: {soft}{one.check.text}")
                yield visible(f"      {one.outcome.why}")


def _flaky_lines(report: TestReport) -> Iterator[str]:
    for case in report.cases:
        if case.flaky:
            yield visible(f"flaky {case.case.name}: {case.passes} of {len(case.attempts)} passed, "
                          f"{case.needed} must; that is a {case.verdict}")


def visible(text: str) -> str:
    """Without what a terminal would act on: an answer is anybody's text."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def github(report: TestReport) -> Iterator[str]:
    """An annotation for each case that is not a pass, and a warning for each flaky one."""
    for case in report.cases:
        place = case.case.place
        where = f"file={_property(place.file)},line={place.line},col={place.column}"
        if case.verdict != "pass" and (bad := case.first_bad) is not None:
            level = "warning" if case.verdict == "skipped" else "error"
            yield f"::{level} {where},title={_property(f'{case.verdict}: {case.case.name}')}::{_data(bad.why)}"
        if case.flaky:
            said = f"{case.passes} of {len(case.attempts)} repetitions passed"
            yield f"::warning {where},title={_property(f'flaky: {case.case.name}')}::{_data(said)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def markdown(report: TestReport, title: str) -> str:
    """For a job's summary: the count, and a table of what is not a plain pass."""
    lines = [f"### {_cell(title)}", "", f"**{report.verdict}**: {summary(report)}", ""]
    rows = [case for case in report.cases if case.verdict != "pass" or case.flaky]
    if rows:
        lines += ["| test | verdict | passed | why |", "|---|---|---|---|"]
    for case in rows:
        bad = case.first_bad
        verdict = f"{case.verdict}{', flaky' if case.flaky else ''}"
        lines.append(f"| {_cell(case.case.name)} | {verdict} | {case.passes}/{len(case.attempts)} | "
                     f"{_cell(bad.why if bad else '')} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """Text that is no Markdown or HTML, whatever it looks like."""
    plain = visible(" ".join(text.split()))[:300].replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]|#!@])", r"\\\1", plain)


def junit(report: TestReport) -> str:
    """A suite for each file, a case for each test; flaky ones say so in their output."""
    root = Xml.Element("testsuites", name="modelkit test")
    suites: dict[str, list[CaseResult]] = {}
    for case in report.cases:
        suites.setdefault(case.case.place.file, []).append(case)
    for file, cases in suites.items():
        suite = Xml.SubElement(root, "testsuite", name=_xml(file))
        for one in cases:
            _junit_case(suite, file, one)
        _count(suite, cases)
    _count(root, list(report.cases))
    root.set("time", f"{report.seconds:.3f}")
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(element: Xml.Element, cases: list[CaseResult]) -> None:
    verdicts = [case.verdict for case in cases]
    for name, verdict in (("failures", "fail"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(verdicts.count(verdict)))  # type: ignore[arg-type]
    element.set("tests", str(len(cases)))
    element.set("time", f"{sum(attempt.seconds for case in cases for attempt in case.attempts):.3f}")


def _junit_case(suite: Xml.Element, file: str, result: CaseResult) -> None:
    seconds = sum(attempt.seconds for attempt in result.attempts)
    case = Xml.SubElement(suite, "testcase", name=_xml(result.case.name), classname=_xml(file), file=_xml(file),
                          line=str(result.case.place.line), time=f"{seconds:.3f}")
    tag = {"fail": "failure", "error": "error", "skipped": "skipped"}.get(result.verdict)
    if tag is not None and (bad := result.first_bad) is not None:
        lines = [f"{one.check.place}: {one.check.text}\n  {one.outcome.why}" for one in bad.checked
                 if one.outcome.verdict != "pass"] or [bad.why]
        Xml.SubElement(case, tag, message=_xml(bad.why), type=result.verdict).text = _xml("\n".join(lines))
    if len(result.attempts) > 1:
        said = f"{result.passes} of {len(result.attempts)} repetitions passed, {result.needed} must"
        Xml.SubElement(case, "system-out").text = said + (": flaky" if result.flaky else "")


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

"""Findings as JUnit XML, which most services for continuous integration show as test results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from modelkit.findings.examine import Examined
from modelkit.language.diagnostic import Diagnostic, Severity

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(files: Sequence[Examined], fails: Severity) -> str:
    """A suite for each file, a case for each finding: failed if it is at least as grave as `fails`. A file without
    findings is one case that passed."""
    root = Xml.Element("testsuites", name="modelkit check")
    for file in files:
        suite = Xml.SubElement(root, "testsuite", name=_text(file.source.name), errors="0", skipped="0", time="0")
        for one in file.found:
            _case(suite, file, one, fails)
        if not file.found:
            Xml.SubElement(suite, "testcase", name="check", classname=_text(file.source.name), time="0")
        _count(suite, list(suite))
    _count(root, [case for suite in root for case in suite])
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(element: Xml.Element, cases: list[Xml.Element]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.find("failure") is not None for case in cases)))


def _case(suite: Xml.Element, file: Examined, one: Diagnostic, fails: Severity) -> None:
    line, column = file.source.line_column(one.span.start)
    case = Xml.SubElement(suite, "testcase", name=f"{one.rule.id} ({line}:{column})", classname=_text(file.source.name),
                          file=_text(file.source.name), line=str(line), time="0")
    text = _text(f"{file.source.name}:{line}:{column}: {one.message}" + (f"\n{one.hint}" if one.hint else ""))
    gravity = list(Severity)
    if gravity.index(one.severity) <= gravity.index(fails):
        Xml.SubElement(case, "failure", message=_text(one.message), type=str(one.severity)).text = text
    else:
        Xml.SubElement(case, "system-out").text = f"{one.severity}: {text}"


def _text(text: str) -> str:
    """Without the characters that XML cannot hold, however written."""
    return _NOT_XML.sub("\ufffd", text)

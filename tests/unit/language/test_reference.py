"""The reference pages are what the tables make of them, and their examples are Modelfiles."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Severity
from modelkit.language.instructions import INSTRUCTIONS, InstructionRow
from modelkit.language.parameters import PARAMETERS
from modelkit.language.reference import pages
from modelkit.language.rules import RULES
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source
from tests.conftest import Golden

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("path", sorted(pages()))
def test_a_page_is_current(path: str, golden: Golden) -> None:
    golden(ROOT / path, pages()[path])


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_has_its_section(rule: str) -> None:
    page = pages()["docs/reference/rules.md"]
    section = re.split(r"\n##+ ", page.split(f"\n### {rule}\n")[1])[0]
    assert section.count("```modelfile\n") == 2
    assert RULES[rule].why in section and RULES[rule].help in section


def test_every_row_is_on_its_page() -> None:
    page = pages()["docs/reference/modelfile.md"]
    for word in INSTRUCTIONS:
        assert f"#### {word}\n" in page
    for row in (*PARAMETERS.values(), *SERVE_KEYS.values()):
        assert f"| `{row.name}` | {row.kind.says} |" in page


@pytest.mark.parametrize("row", INSTRUCTIONS.values(), ids=lambda row: row.keyword)
def test_an_instructions_example_is_a_modelfile(row: InstructionRow) -> None:
    text = "" if row.keyword == "FROM" else "FROM llama3.2:3b\n"
    if "file" in row.where:
        text += row.example
    elif row.where == ("stage",):
        text += f"STAGE experiment {{\n  {row.example}\n}}"
    else:
        text += f'TEST "example" {{\n  USER Hello\n  {row.example}\n  EXPECT contains "Hello"\n}}'
    found = compile_source(Source("Modelfile", text))[1]
    errors = {d.rule.id for d in found if d.severity is Severity.ERROR}
    assert errors == set()
    assert row.effective or errors or {d.rule.id for d in found} == {"not-yet"}


def test_links_lead_to_sections() -> None:
    page = pages()["docs/reference/rules.md"]
    for link in re.findall(r"\]\(#([^)]+)\)", page):
        assert re.search(rf"\n##+ {link}\n", page)

"""Every case in tests/golden/errors says exactly what its last comment block holds.

A case is a Modelfile and, as its last lines, what must be said about it: each line after `#! `. A new case is a new
file; `pytest --update-golden` writes its block. A case is named for the rule it shows; `rule.2.modelfile` is another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from modelkit.engines.checking import findings
from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Diagnostic, in_file_order
from modelkit.language.excerpt import as_report
from modelkit.language.rules import RULES
from modelkit.language.source import Source
from modelkit.language.suppressions import suppress
from tests.conftest import Golden
from tests.unit.language.outsides import BESIDE

CASES = sorted((Path(__file__).parents[2] / "golden/errors").glob("*.modelfile"))
MARK = b"#!"


def said_of(source: Source, slug: str) -> list[Diagnostic]:
    """What the whole compiler says, without what the case's own comments leave out; of an engine's rule what is known
    of engines too.
    """
    modelfile, found = compile_source(source, BESIDE)
    if modelfile is not None and RULES[slug].family == "engine":
        found = in_file_order([*found, *findings(modelfile)])
    return suppress(source, found)[0]


def without_block(data: bytes) -> bytes:
    """The case without its last comment block."""
    lines = data.splitlines(keepends=True)
    while lines and lines[-1].startswith(MARK):
        lines.pop()
    return b"".join(lines)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_says_exactly(case: Path, golden: Golden) -> None:
    body = without_block(case.read_bytes())
    source = Source.decode("Modelfile", body)
    said = as_report(said_of(source, case.name.split(".")[0]), source)
    block = "".join(f"#! {line}".rstrip(" ") + "\n" for line in said.split("\n"))
    golden(case, body.decode() + block)


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.stem)
def test_shows_the_rule_it_is_named_for(case: Path) -> None:
    slug = case.name.split(".")[0]
    assert slug in RULES
    found = said_of(Source.decode("Modelfile", without_block(case.read_bytes())), slug)
    assert slug in {d.rule.id for d in found}


def test_every_rule_has_a_case() -> None:
    shown = {case.name.split(".")[0] for case in CASES}
    seen_elsewhere = {rule.id for rule in RULES.values() if rule.family == "model"}  # who knows the model's files
    # The other two are about bytes that no text file of ours should hold.
    assert set(RULES) - shown - seen_elsewhere == {"bad-encoding", "invalid-bytes"}

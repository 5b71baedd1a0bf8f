"""Whatever is typed, wherever the cursor is: answers, and never an exception."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from lsprotocol import types

from modelkit.language.examples import EXAMPLES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.lsp import changes, names, outline
from modelkit.lsp.colours import colours
from modelkit.lsp.completion import completions
from modelkit.lsp.diagnostics import diagnostics
from modelkit.lsp.hover import hover
from tests.unit.lsp.texts import SUPPORT, analysed

NOISE = (*'"\n\r\t #{}$<[]\\/.:-', '"""', "${", "}", "\u200d", "\ufeff", "👩‍🚀", "\0", "\u2028", "日", "AS", "EXTENDS",
         "modelkit: ignore[", "not", ">=", *INSTRUCTIONS)


def texts() -> list[str]:
    """The examples of all rules, and the same with random pieces put in, taken out and swapped."""
    draw = random.Random(5)
    found = [SUPPORT, "", "\n", "STAGE", "TEST \"a\" {", *(row.bad for row in EXAMPLES.values())]
    for _ in range(120):
        text = draw.choice(found)
        for _ in range(draw.randint(1, 6)):
            start, end = sorted((draw.randint(0, len(text)), draw.randint(0, len(text))))
            text = draw.choice((text[:start] + draw.choice(NOISE) + text[start:], text[:start] + text[end:],
                                text[:start] + text[end : end + 30] + text[start:]))[:2000]
        found.append(text)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_every_question_has_an_answer(seed: int, tmp_path: Path) -> None:
    for index, text in enumerate(texts()):
        if index % 4 != seed:
            continue
        analysis = analysed(text, tmp_path)
        shown = diagnostics(analysis, "file:///m")
        last = analysis.places.position(len(text))
        assert all(one.range.start <= one.range.end <= last for one in shown)
        outline.symbols(analysis), outline.folds(analysis), outline.links(analysis), changes.formatting(analysis)
        assert len(colours(analysis).data) % 5 == 0 and min(colours(analysis).data, default=0) >= 0
        draw = random.Random(index)
        for offset in (draw.randint(0, len(text)) for _ in range(6)):
            for item in completions(analysis, offset):
                edit = item.text_edit
                assert isinstance(edit, types.TextEdit)
                assert edit.range.start <= analysis.places.position(offset) <= edit.range.end
                assert edit.range.start.line == edit.range.end.line
            said = hover(analysis, offset)
            assert said is None or (said.text and said.span.start <= offset <= said.span.end)
            name = names.at(analysis.document, offset)
            assert name is None or all(text[one.span.start : one.span.end] == name.text
                                       for one in names.places(analysis.document, name))

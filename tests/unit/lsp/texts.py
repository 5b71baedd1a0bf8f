"""Texts with a place marked in them, analysed as the server does."""

from __future__ import annotations

from pathlib import Path

from modelkit.language.source import Source
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.positions import Positions

MARK = "¦"

SUPPORT = """\
# A support assistant.
NAME support
FROM llama3.2:${SIZE}
ARG SIZE 3b
SYSTEM \"\"\"Be brief.
Be kind.\"\"\"
PARAMETER temperature 0.2
ADAPTER ./tone.gguf AS support-kind

STAGE prod {
  ENGINE vllm >=0.32,<0.34
  FLAG --enforce-eager
  EXPECT ttft.p95 <= 500ms
}
STAGE staging EXTENDS prod {
  SERVE port 8585
}
TEST "greets" {
  USER Say hello to ${SIZE}.
  EXPECT contains "ello"
}
"""


def analysed(text: str, folder: Path | None = None, name: str = "Modelfile") -> Analysis:
    return Analysis(Positions(Source(str(folder / name) if folder else name, text)), folder)


def marked(text: str, folder: Path | None = None) -> tuple[Analysis, int]:
    """The text without its mark, and where that was."""
    before, found, after = text.partition(MARK)
    assert found, "the text has no mark"
    return analysed(before + after, folder), len(before)

"""`modelkit lsp` where it cannot serve. Serving itself is in `tests/unit/lsp`."""

from __future__ import annotations

import pytest

from modelkit.cli.commands import lsp
from tests.unit.cli.conftest import Run


def test_without_its_extra_it_says_how_to_get_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lsp, "find_spec", lambda name: None)
    code, out, err = run("lsp", "--stdio")
    assert (code, out) == (2, "")
    assert "error[lsp-missing]" in err and "pip install 'modelkit-llm[lsp]'" in err

"""The files that are made from the language's tables, by their path below the project."""

from __future__ import annotations

import json

from editors import textmate, vim


def files() -> dict[str, str]:
    """Each file's text. `make golden` writes them; a test says when they are old."""
    return {"editors/vscode/syntaxes/modelfile.tmLanguage.json":
            json.dumps(textmate.grammar(), indent=2, ensure_ascii=False) + "\n",
            "editors/vim/syntax/modelfile.vim": vim.syntax()}

"""`modelkit compare`."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

from modelkit.cli.terminal import Terminal


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Are two models the same one in different forms? Headers alone decide; 1 when they are not."""
    from modelkit import models
    from modelkit.models.same import compare

    store = models.Store()
    with terminal.progress() as progress:
        left, right = (models.acquire(word, Path.cwd(), store=store, on_progress=progress)
                       for word in (arguments.left, arguments.right))
    differences = compare(left, right)
    same = not any(one.severe for one in differences)
    terminal.document({"same": same, "left": left.reference, "right": right.reference,
                       "differences": [asdict(one) for one in differences]})
    if differences:
        terminal.table(("DIFFERENCE", "LEFT", "RIGHT", "WHAT IT MEANS"), [
            (one.aspect, _short(one.left), _short(one.right), one.meaning) for one in differences])
    terminal.data("the same model" if same else "not the same model")
    return 0 if same else 1


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 40 else text[:37] + "..."

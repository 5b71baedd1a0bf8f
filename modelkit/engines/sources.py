"""modelkit's own sources as files of a launch, for a Python in which modelkit is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from modelkit.engines.launch import File

FOLDER = "python"
"""What the launch puts on PYTHONPATH."""


def sources(*packages: str, says: str) -> list[File]:
    """Every source file of these packages of modelkit, under `python/`, in an order that does not change.

    `says` is the docstring of what stands for modelkit itself there.
    """
    found = [File(f"{FOLDER}/modelkit/__init__.py", f'"""{says}"""\n')]
    for package in packages:
        found += _under(files(f"modelkit.{package}"), f"{FOLDER}/modelkit/{package}")
    return found


def _under(folder: Traversable, at: str) -> Iterator[File]:
    for one in sorted(folder.iterdir(), key=lambda one: one.name):
        if one.name.endswith(".py"):
            yield File(f"{at}/{one.name}", one.read_text("utf-8"))
        elif one.is_dir() and not one.name.startswith("_"):
            yield from _under(one, f"{at}/{one.name}")

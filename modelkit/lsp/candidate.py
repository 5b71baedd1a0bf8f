"""One thing that could stand at the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Sort = Literal["keyword", "key", "value", "operator", "stage", "variable", "file", "folder", "model", "flag"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A word to complete. `detail` is a few words beside it, `doc` Markdown that is shown when it is chosen.

    `insert` is what is written where that is more than the label, `snippet` the same with places to fill in, for
    clients that know them. `also` are words of other tools that it is found by. `replaces` is how many characters
    before the cursor it stands for (None: the whole word); `keeps` says that what follows the cursor stays.
    """

    label: str
    sort: Sort
    detail: str = ""
    doc: str = ""
    insert: str = ""
    snippet: str = ""
    also: tuple[str, ...] = ()
    replaces: int | None = None
    keeps: bool = False

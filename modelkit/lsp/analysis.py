"""One version of one open file: its text, its shape, what is wrong with it, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.language.diagnostic import Diagnostic
from modelkit.language.document import Block, Document, Instruction
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.source import Source
from modelkit.lsp.positions import Positions

if TYPE_CHECKING:
    from modelkit.findings.examine import Examined

LONGEST = 4 * 1024 * 1024
"""Characters of a text to look at; a longer one is no Modelfile, and is left alone."""


@dataclass(frozen=True)
class Analysis:
    """What is known of a text, each part found when it is first asked for.

    `folder` is where the file's paths start; None for a text that was never saved.
    """

    places: Positions
    folder: Path | None = None
    version: int | None = None

    @property
    def source(self) -> Source:
        return self.places.source

    @cached_property
    def document(self) -> Document:
        from modelkit.language.parser import parse

        return parse(self.source)[0]

    @cached_property
    def examined(self) -> Examined:
        """What `modelkit check` finds."""
        from modelkit.findings.examine import Examined, examine
        from modelkit.language.outside import NOTHING, outside_of

        outside = outside_of(Path(self.source.name)) if self.folder is not None else NOTHING
        return examine(self.source, outside) if len(self.source.text) <= LONGEST else Examined(self.source, None, ())

    @property
    def findings(self) -> tuple[Diagnostic, ...]:
        return self.examined.found

    @cached_property
    def stages(self) -> dict[str, str]:
        """The file's stages, each with the one that it extends ("" for none), whatever else is wrong with them."""
        found: dict[str, str] = {}
        for block in self.document.blocks("STAGE"):
            words = block.header.text.split()
            if words:
                found.setdefault(words[0], words[2] if len(words) > 2 and words[1].upper() == "EXTENDS" else "")
        return found

    def kind(self, stage: str) -> str:
        """The known stage that this one is or extends; "" where that cannot be said."""
        seen: set[str] = set()
        while stage not in KNOWN_STAGES:
            if stage in seen or stage not in self.stages:
                return ""
            seen.add(stage)
            stage = self.stages[stage]
        return stage

    def said(self, keyword: str, stage: str = "") -> list[Instruction]:
        """The instructions of one keyword that a stage has: its own, those it extends, the file's; its own first."""
        found: list[Instruction] = []
        seen: set[str] = set()
        while stage in self.stages and stage not in seen:
            seen.add(stage)
            for block in self.document.blocks("STAGE"):
                if block.header.text.split()[:1] == [stage]:
                    found += _those(block, keyword)
            stage = self.stages[stage]
        return [*found, *(one for one in self.document.instructions() if one.keyword.text.upper() == keyword)]

    def engine(self, stage: str) -> tuple[str, str]:
        """The engine of a stage and the versions it may have, as written; the default where the file names none."""
        from modelkit.language.engine_words import DEFAULT_ENGINE

        for instruction in self.said("ENGINE", stage):
            name, _, version = instruction.value.text.partition(" ")
            return name.lower(), version.strip()
        return DEFAULT_ENGINE.get(self.kind(stage) or "dev", ""), ""


def _those(block: Block, keyword: str) -> list[Instruction]:
    return [item for item in block.body if isinstance(item, Instruction) and item.keyword.text.upper() == keyword]

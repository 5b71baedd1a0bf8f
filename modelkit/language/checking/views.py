"""A file's stages as they are in the end, and a report that says each thing once however many stages share it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from modelkit.language.diagnostic import Fix, Note, Report, Rule
from modelkit.language.document import Document, Instruction
from modelkit.language.engine_words import DEFAULT_ENGINE, DEFAULT_PLATFORM
from modelkit.language.layers import Effective, effective
from modelkit.language.modelfile import Modelfile, Stage
from modelkit.language.source import Span

_MOST_BLOCKS = 300
"""Blocks that are merged at most, all stages together: a lineage of thousands is nobody's file."""


@dataclass(frozen=True, slots=True)
class View:
    """One stage in the end. `block` is the stage's own, None for a known stage that the file does not mention."""

    said: Effective
    block: Stage | None

    @property
    def engine(self) -> str:
        return self.said.engine.value.name if self.said.engine else DEFAULT_ENGINE[self.said.kind]

    @property
    def platform(self) -> str:
        return self.said.platform.value if self.said.platform else DEFAULT_PLATFORM

    @property
    def elsewhere(self) -> bool:
        """Whether something else than a process of this machine serves it: other people are likely to use it."""
        return self.platform not in (DEFAULT_PLATFORM, "systemd", "ollama", "lmstudio", "jan")

    @property
    def task(self) -> str:
        said = self.said.serve.get("task")
        return str(said.value) if said is not None else "chat"


@dataclass(frozen=True)
class Checked:
    """A file without errors, and where to say what is wrong with it all the same."""

    modelfile: Modelfile
    document: Document
    views: tuple[View, ...]
    report: Report
    _said: set[tuple[str, Span]] = field(default_factory=set)

    @classmethod
    def of(cls, modelfile: Modelfile, document: Document, report: Report) -> Checked:
        return cls(modelfile, document, tuple(_views(modelfile)), report)

    @property
    def declared(self) -> tuple[View, ...]:
        """The stages that the file has a block for."""
        return tuple(view for view in self.views if view.block is not None)

    def header(self, stage: Stage) -> Span:
        """Where a stage's block says its name."""
        blocks = (block for block in self.document.blocks("STAGE") if block.span == stage.span)
        return next((block.header.span for block in blocks), stage.span)

    def instruction(self, value: Span) -> Instruction | None:
        """The instruction whose value stands there."""
        return next((one for one in self.document.all_instructions() if one.value.span == value), None)

    def say(self, rule: Rule, message: str, span: Span, *, hint: str | None = None, notes: Iterable[Note] = (),
            fix: Fix | None = None) -> None:
        """Reports it, unless this rule has spoken of this place already."""
        if (rule.id, span) not in self._said:
            self._said.add((rule.id, span))
            self.report.add(rule, message, span, hint=hint, notes=notes, fix=fix)


def _views(modelfile: Modelfile) -> Iterable[View]:
    """The stages that have a block, and one of those that have none: what the file says without any."""
    plain = next((name for name in ("dev", "prod", "experiment") if name not in modelfile.stages), None)
    blocks = 0
    for name in (*modelfile.stages, *((plain,) if plain is not None else ())):
        blocks += len(modelfile.lineage(name)) + 1
        if blocks > _MOST_BLOCKS:
            return
        yield View(effective(modelfile, name), modelfile.stages.get(name))

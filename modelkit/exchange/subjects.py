"""What is exported, and what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelkit.exchange.losses import Loss
from modelkit.failure import Failure
from modelkit.language.layers import Effective, effective
from modelkit.language.modelfile import KNOWN_STAGES, Modelfile
from modelkit.models.reference import Reference


@dataclass(frozen=True)
class Subject:
    """One stage of a checked Modelfile. Raises Failure for a stage that the file does not have."""

    modelfile: Modelfile
    stage: str

    def __post_init__(self) -> None:
        names = tuple(dict.fromkeys((*KNOWN_STAGES, *self.modelfile.stages)))
        if self.stage not in names:
            raise Failure("unknown-stage", f"{self.modelfile.path} has no stage `{self.stage}`",
                          hint=f"it has {', '.join(names)}")

    @property
    def name(self) -> str:
        """The model name that clients send."""
        return self.modelfile.name.value

    @property
    def said(self) -> Effective:
        return effective(self.modelfile, self.stage)

    @property
    def base(self) -> Reference:
        """What FROM names; a path is still as it was written in `said`."""
        base = self.said.base
        assert base is not None  # checked: a file has a FROM
        return Reference.parse(base.value, self.folder)

    @property
    def folder(self) -> Path:
        return Path(self.modelfile.path).absolute().parent


@dataclass(frozen=True)
class Exported:
    """A file of another program, and what it does not say that the Modelfile does."""

    text: str
    losses: tuple[Loss, ...]

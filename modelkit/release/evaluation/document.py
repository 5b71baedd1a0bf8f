"""Scores as a file, to be compared with later ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

import modelkit
from modelkit.failure import Failure
from modelkit.release.bench.document import Subject
from modelkit.release.evaluation.score import Paired, Score, paired
from modelkit.release.record import now
from modelkit.release.results import read_result


def _score(said: Any) -> Any:
    """What `as_json` adds is left out."""
    return {name: one for name, one in said.items() if name not in ("answered", "unscored")} if isinstance(
        said, dict) else said


class EvalDocument(BaseModel):
    """One call of `eval`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    schema_: Literal["modelkit.scores/1"] = Field("modelkit.scores/1", alias="schema")
    at: str = Field(default_factory=now)
    tool: str = f"modelkit {modelkit.__version__}"
    subject: Subject
    limit: int | None = None
    scores: tuple[Annotated[Score, BeforeValidator(_score)], ...]

    def as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True) | {"scores": [one.as_json() for one in self.scores]}


def read(path: Path) -> EvalDocument:
    """What `modelkit eval --out` wrote. Raises Failure."""
    return read_result(path, EvalDocument, command="eval", code="not-scores", noun="a result of `modelkit eval`",
                       printed=("limits", "comparison"))


def compare(before: EvalDocument, after: EvalDocument) -> tuple[Paired, ...]:
    """The difference of every score that both have. Raises Failure where there is none, and where a task of one's own
    has other questions now."""
    was = {one.name: one for one in before.scores}
    found = list[Paired]()
    for one in after.scores:
        if (old := was.get(one.name)) is None:
            continue
        if (one.task is not None and one.task != old.task) or one.metric != old.metric:
            raise Failure("other-task", f"`{one.name}` asks or scores otherwise than it did, so the two cannot be "
                          "compared", hint="run the earlier model with the task as it is now")
        if (difference := paired(old, one)) is not None:
            found.append(difference)
    if not found:
        raise Failure("other-task", "the two results have no question in common",
                      hint="run " + " ".join(sorted(was)))
    return tuple(found)

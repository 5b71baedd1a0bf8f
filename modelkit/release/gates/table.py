"""The kinds of gates: what each needs, whether a person may override it, and how long what it found counts."""

from __future__ import annotations

from typing import Literal, NamedTuple

Phase = Literal["files", "engines"]


class Kind(NamedTuple):
    """One kind of gate. `files`: judged before anything is started; `engines`: asks the engines of the two stages."""

    name: str
    phase: Phase
    doc: str
    overridable: bool = True
    max_age: float = 0.0  # seconds that evidence counts; 0: it is judged anew each time


_HOUR, _DAY = 3600.0, 86400.0

KINDS: dict[str, Kind] = {row.name: row for row in (
    Kind("lint", "files", "`check` finds no error in the Modelfile."),
    Kind("lock", "files", "The lock answers the Modelfile, and pins by digest what the stage runs.", overridable=False),
    Kind("supply", "files", "What the stage runs obeys its POLICY lines.", overridable=False),
    Kind("params", "files", "No setting is lost on the stage's engine."),
    Kind("soak", "files", "What is promoted ran long enough in the stage before, without a restart."),
    Kind("approval", "files", "Enough people other than the author approved of exactly this."),
    Kind("parity", "engines", "Both stages turn the same conversations into the same tokens.", max_age=7 * _DAY),
    Kind("tests", "engines", "The file's tests pass.", max_age=7 * _DAY),
    Kind("eval", "engines", "An evaluation's score is high enough, and not below that of what runs now.",
         max_age=30 * _DAY),
    Kind("slo", "engines", "Latencies, throughput and errors keep their limits.", max_age=_DAY),
    Kind("fit", "engines", "The engine keeps to the memory that it may take."),
)}

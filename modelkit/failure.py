"""The one exception for what can go wrong outside a Modelfile's text.

Mistakes in a Modelfile are diagnostics (`modelkit.language.diagnostic`); a missing file, a busy port, a dead
engine or a full disk is a `Failure`. Only the command line prints them. Anything else that is raised is our bug.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Failure(Exception):
    """Something a person can put right, said once: what happened, and what to do next.

    `code` is a stable slug (`port-busy`), `message` one lower-case sentence without a full stop, `hint` what to do
    next, `detail` lines to show verbatim (an engine's last words). `exit_code` is 2 (the environment or the
    command line is at fault) unless a check was made and its answer is no (1).
    """

    code: str
    message: str
    hint: str | None = None
    detail: tuple[str, ...] = ()
    exit_code: int = 2
    data: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, Any]:
        """The same facts for `--json`."""
        said: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.hint:
            said["hint"] = self.hint
        if self.detail:
            said["detail"] = list(self.detail)
        return said | self.data

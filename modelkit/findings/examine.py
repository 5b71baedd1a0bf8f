"""One file, looked at by every room that has something to say of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Diagnostic, Rule, Severity, in_file_order
from modelkit.language.modelfile import Modelfile
from modelkit.language.outside import NOTHING, Outside
from modelkit.language.rules import RULES
from modelkit.language.source import Source
from modelkit.language.suppressions import Ignored, suppress


@dataclass(frozen=True)
class Examined:
    """A file's meaning, None when it has an error of the language, and its findings in file order."""

    source: Source
    modelfile: Modelfile | None
    found: tuple[Diagnostic, ...]
    ignored: tuple[Ignored, ...] = ()
    outside: Outside = NOTHING

    @property
    def errors(self) -> int:
        return sum(one.severity is Severity.ERROR for one in self.found)


def examine(source: Source, outside: Outside = NOTHING) -> Examined:
    """Everything that is known of a file without its model: its language's findings, and those of its engines.

    The engines' versions are those of the lock beside it. What the file's comments leave out is in `ignored`.
    """
    modelfile, found = compile_source(source, outside)
    if modelfile is not None:
        from modelkit.engines.checking import findings
        from modelkit.planning.beside import findings as beside

        found = in_file_order([*found, *findings(modelfile, _locked(Path(source.name + ".lock"))), *beside(modelfile)])
    kept, ignored = suppress(source, found)
    return Examined(source, modelfile, tuple(kept), tuple(ignored), outside)


def rules() -> dict[str, Rule]:
    """Every rule that a finding may be of, by its id."""
    return RULES


def _locked(path: Path) -> dict[str, str]:
    """The engines' versions by stage; none of a lock that cannot be read: whoever needs it says what is wrong."""
    try:
        stages = tomllib.loads(path.read_text("utf-8"))["stage"]
        return {one["name"]: one["engine"].partition(" ")[0] for one in stages if "engine" in one}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}

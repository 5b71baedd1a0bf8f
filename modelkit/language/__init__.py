"""The Modelfile language: text to checked meaning.

    source = Source.read(Path("Modelfile"))
    modelfile, diagnostics = compile_source(source)
    settings = effective(modelfile, "prod")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from modelkit.language.check import compile_source
    from modelkit.language.diagnostic import CompileError, Diagnostic, Report, Rule, Severity
    from modelkit.language.document import Document
    from modelkit.language.layers import Effective, effective
    from modelkit.language.modelfile import Modelfile
    from modelkit.language.parser import parse
    from modelkit.language.source import Source, Span

__all__ = [
    "CompileError", "Diagnostic", "Document", "Effective", "Modelfile", "Report", "Rule", "Severity", "Source", "Span",
    "compile_source", "effective", "parse",
]

_HOME = {
    "CompileError": "diagnostic", "Diagnostic": "diagnostic", "Document": "document", "Effective": "layers",
    "Modelfile": "modelfile", "Report": "diagnostic", "Rule": "diagnostic", "Severity": "diagnostic",
    "Source": "source", "Span": "source", "compile_source": "check", "effective": "layers",
    "parse": "parser",
}


def __getattr__(name: str) -> Any:
    """Each name is imported when it is first asked for: the command line starts without the compiler."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)

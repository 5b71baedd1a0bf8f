"""`PARAMETER name value` and `SERVE key value`."""

from __future__ import annotations

import re

from modelkit.language.checking.context import Context
from modelkit.language.diagnostic import Fix
from modelkit.language.document import Value, Word
from modelkit.language.fixes import guess, instead, without
from modelkit.language.kinds import Scalar
from modelkit.language.modelfile import Said
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED, SYNONYMS
from modelkit.language.rules.meaning import UNKNOWN_PARAMETER, UNKNOWN_SERVE_KEY
from modelkit.language.rules.ollama import DEPRECATED_PARAMETER, EMPTY_VALUE, REMOVED_PARAMETER, WRONG_CASE_PARAMETER
from modelkit.language.rules.production import SECRET_IN_FILE
from modelkit.language.serve import SERVE_KEYS, SERVE_SYNONYMS
from modelkit.language.source import Span


def read_parameter(name: Word, value: Value, context: Context) -> Said[Scalar] | None:
    """One parameter's value; None, and a diagnostic, for what is none or has no effect."""
    row = PARAMETERS.get(name.text)
    if row is None:
        _no_parameter(name, value, context)
        return None
    if row.name == "stop" and not value.text:
        context.report.add(EMPTY_VALUE, "an empty stop string stops nothing", name.span,
                           fix=_without(name, value, context))
        return None
    read = context.value(row.name, row.kind, value.text, value.span)
    if read is None:
        return None
    if not row.effective:
        context.later(f"PARAMETER {row.name}", name.span)
    return Said(read, value.span)


def _no_parameter(name: Word, value: Value, context: Context) -> None:
    text, report = name.text, context.report
    plain = text.lower()
    if text in DEPRECATED:
        report.add(DEPRECATED_PARAMETER, f"`{text}` is deprecated and ignored", name.span, hint="remove the line",
                   fix=_without(name, value, context))
    elif removed := REMOVED.get(plain):
        said = f"was removed from Ollama in {removed.since}" if removed.since else "is no parameter"
        key = re.fullmatch(r"`SERVE (\w+)`", removed.instead)
        fix = _without(name, value, context) if removed.instead.startswith("nothing") else None
        report.add(REMOVED_PARAMETER, f"`{text}` {said}", name.span, hint=f"instead: {removed.instead}",
                   fix=_as(f"SERVE {key[1]}", name, context) if key else fix)
    elif plain in PARAMETERS or plain in DEPRECATED:
        report.add(WRONG_CASE_PARAMETER, f"`{text}` is in the wrong case", name.span, hint=f"did you mean `{plain}`?",
                   fix=instead(name.span, plain))
    elif plain in SERVE_KEYS:
        report.add(UNKNOWN_PARAMETER, f"`{text}` is no parameter but a serving setting", name.span,
                   hint=f"write `SERVE {plain}`", fix=_as(f"SERVE {plain}", name, context, safe=True))
    elif plain == "from":
        report.add(UNKNOWN_PARAMETER, "`from` is no parameter but an instruction", name.span, hint="write `FROM …`",
                   fix=_as("FROM", name, context))
    else:
        context.unknown(UNKNOWN_PARAMETER, "parameter", name, PARAMETERS, others=SYNONYMS)


def _without(name: Word, value: Value, context: Context) -> Fix:
    return without(context.source, Span(name.span.start, value.span.end), "the line")


def _as(words: str, name: Word, context: Context, *, safe: bool = False) -> Fix | None:
    """Other words for an instruction and its name."""
    start = context.source.line_starts[context.source.line_column(name.span.start)[0] - 1]
    before = re.search(r"[A-Za-z]+[ \t]+\Z", context.source.text[start : name.span.start])
    if before is None:
        return None
    span = Span(start + before.start(), name.span.end)
    return instead(span, words) if safe else guess(span, words)


def read_serve(name: Word, value: Value, context: Context) -> Said[Scalar] | None:
    """One serving setting's value; None, and a diagnostic, for what is none."""
    row = SERVE_KEYS.get(name.text)
    if row is None:
        if name.text in PARAMETERS:
            context.report.add(UNKNOWN_SERVE_KEY, f"`{name.text}` is no serving setting but a parameter", name.span,
                               hint=f"write `PARAMETER {name.text}`",
                               fix=_as(f"PARAMETER {name.text}", name, context, safe=True))
        else:
            context.unknown(UNKNOWN_SERVE_KEY, "SERVE key", name, SERVE_KEYS, others=SERVE_SYNONYMS)
        return None
    if row.name == "api_key" and value.text and not value.text.startswith(("env:", "file:")):
        # The text may be a key, so it is not repeated.
        context.report.add(SECRET_IN_FILE, "`api_key` must say where the key is kept, never the key itself", value.span,
                           hint="write `SERVE api_key env:MODELKIT_API_KEY`")
        return None
    read = context.value(f"SERVE {row.name}", row.kind, value.text, value.span)
    if read is None:
        return None
    if not row.effective:
        context.later(f"SERVE {row.name}", name.span)
    if row.name == "task" and read == "classify":
        context.later("SERVE task classify", value.span, essential=True, hint="it is chat, embed or rerank")
    return Said(read, value.span)

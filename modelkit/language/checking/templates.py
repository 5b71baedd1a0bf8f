"""TEMPLATE: which language it is in, and whether it can be rendered."""

from __future__ import annotations

import re

from modelkit.language.checking.context import Context
from modelkit.language.checking.parts import place
from modelkit.language.diagnostic import did_you_mean
from modelkit.language.document import Value
from modelkit.language.rules.production import (
    BAD_TEMPLATE,
    TEMPLATE_FAILS,
    TEMPLATE_NOT_EXPRESSIBLE,
    UNKNOWN_TEMPLATE_VARIABLE,
)
from modelkit.templates import is_jinja

_KNOWN = ("System", "Prompt", "Messages", "Tools", "Response", "Suffix", "Think", "ThinkLevel", "IsThinkSet", "First",
          "Context")
"""What Ollama gives a template of some kind, or once gave it: those have a rule of their own."""


def check_template(value: Value, context: Context) -> None:
    """Reports a template that does not parse, and what of a Go template can't become Jinja."""
    if is_jinja(value.text):
        _check_jinja(value, context)
    else:
        _check_go(value, context)


def _check_go(value: Value, context: Context) -> None:
    from modelkit.templates.go_nodes import TemplateError
    from modelkit.templates.go_template import convert

    try:
        made = convert(value.text)
        found = [(TEMPLATE_FAILS, one) for one in made.failing]
    except TemplateError as error:
        found = [(BAD_TEMPLATE if error.kind == "syntax" else TEMPLATE_NOT_EXPRESSIBLE, error)]
    else:
        for said in made.unknown:
            if said.name not in _KNOWN:
                near = did_you_mean(said.name, _KNOWN)
                context.report.add(UNKNOWN_TEMPLATE_VARIABLE, f"no variable is called `.{said.name}`: it prints "
                                   "`<no value>`", place(value, said.at, said.end),
                                   hint=f"did you mean `.{near}`?" if near else None)
    for rule, one in found:
        context.report.add(rule, one.message, place(value, one.at, one.end), hint=one.hint)


def _check_jinja(value: Value, context: Context) -> None:
    # Imported here: most Modelfiles have no template, and Jinja is slow to import.
    from jinja2 import TemplateError, TemplateSyntaxError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=["jinja2.ext.loopcontrols"])
    # Transformers knows `{% generation %}`, which marks the model's own turns; plain Jinja does not.
    text = re.sub(r"\{%[-+]?\s*(?:end)?generation\s*[-+]?%\}", "", value.text)
    try:
        environment.parse(text)
    except TemplateSyntaxError as error:
        problem = " ".join(str(error.message).split()).split(". ")[0][:100].rstrip(".")
        context.report.add(BAD_TEMPLATE, f"line {error.lineno} of this template: {problem}", value.span)
    except (TemplateError, RecursionError, ValueError, OverflowError):
        context.report.add(BAD_TEMPLATE, "this template does not parse", value.span)

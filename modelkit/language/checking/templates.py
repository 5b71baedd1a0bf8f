"""TEMPLATE: which language it is in, and whether it parses."""

from __future__ import annotations

import re

from modelkit.language.checking.context import Context
from modelkit.language.document import Value
from modelkit.language.rules.production import BAD_TEMPLATE, GO_TEMPLATE


def is_jinja(template: str) -> bool:
    """A template with `{%` is Jinja; any other is a Go template, as in Ollama."""
    return "{%" in template


def check_template(value: Value, context: Context) -> None:
    """Reports a Go template, which is not used yet, and a Jinja template that does not parse."""
    if not is_jinja(value.text):
        context.report.add(GO_TEMPLATE, "this Go template is not used yet; the model's own chat template is used",
                           value.span, hint="remove it, or write it in Jinja")
        return
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

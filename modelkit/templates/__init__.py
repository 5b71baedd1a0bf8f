"""Chat templates: Go's, as Ollama has them, made into Jinja that writes the same prompt; and Jinja rendered at arm's
length. Knows texts and conversations, not Modelfiles.
"""

from __future__ import annotations


def is_jinja(template: str) -> bool:
    """A template with `{%` is Jinja; any other is a Go template, as in Ollama."""
    return "{%" in template


def jinja_of(template: str) -> str:
    """The template as Jinja. Raises `go_nodes.TemplateError` for a Go template that can't become Jinja."""
    if is_jinja(template):
        return template
    from modelkit.templates.go_template import convert

    return convert(template).jinja

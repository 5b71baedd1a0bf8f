"""The Modelfile's TEMPLATE as engines take it: Jinja that begins a prompt as the model's tokenizer would."""

from __future__ import annotations

from modelkit.failure import Failure
from modelkit.models.beginning import BEGINS
from modelkit.models.facts import ModelFacts
from modelkit.templates import is_jinja, jinja_of
from modelkit.templates.go_nodes import TemplateError


def begun(model: ModelFacts | None) -> str | None:
    """The model's own template with BOS in front, where it left that to llama.cpp; None where engines need no other.

    llama.cpp's server adds BOS, once, and nobody else does: so all are given the same text.
    """
    return BEGINS + model.chat_template if model is not None and model.leaves_bos and model.chat_template else None


def chat_template(text: str, model: ModelFacts | None) -> str:
    """Jinja as it is; a Go template converted, with the beginning-of-sequence token that Ollama's engine adds.

    Engines here add nothing to what a template writes. Raises Failure for a Go template that can't become Jinja.
    """
    if is_jinja(text):
        return text
    try:
        jinja = jinja_of(text)
    except TemplateError as error:
        raise Failure("bad-template", f"this chat template can't be used: {error.message}", error.hint) from None
    begins = model is not None and model.adds_bos and model.bos and model.bos not in text
    return "{{- bos_token -}}\n" + jinja if begins else jinja

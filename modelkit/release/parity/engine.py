"""An engine's side: what it reads of a conversation, asked of the engine itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from modelkit.failure import Failure
from modelkit.release.parity.conversations import Conversation
from modelkit.release.parity.rendering import Rendering

Ask = Callable[[str, dict[str, Any]], dict[str, Any]]
"""Posts a body to a path and gives the JSON object of the answer. Raises Failure: `engine-refused` where the engine
answers with an error of the request."""


def engine_side(ask: Ask, model: str, task: str = "chat") -> Callable[[Conversation], Rendering]:
    """What an engine of the contract, or vLLM, reads; one that embeds or reranks reads texts, without a template."""

    def render(said: Conversation) -> Rendering:
        body = said.request() if task == "chat" else {
            "prompt": "\n".join(str(one["content"]) for one in said.messages)}
        try:
            answer = ask("/tokenize", {"model": model, **body, "return_token_strs": True})
        except Failure as failure:
            if failure.code != "engine-refused":
                raise
            return Rendering((), spell, refused=failure.message.partition(": ")[2] or failure.message)
        pieces = answer.get("token_strs")
        return Rendering(tuple(answer["tokens"]), spell,
                         tuple(map(str, pieces)) if isinstance(pieces, list) else None)

    def spell(ids: Sequence[int]) -> str:
        return str(ask("/detokenize", {"model": model, "tokens": list(ids)})["prompt"]) if ids else ""

    return render


def llama_server_side(ask: Ask, *, adds_special: bool = True) -> Callable[[Conversation], Rendering]:
    """What a plain llama-server reads: it renders and tokenizes in two steps (`/apply-template`, `/tokenize`).

    Its own chat route tokenizes the rendered prompt with `add_special` and `parse_special`, and leaves out a BOS
    that the template wrote already (llama.cpp b11434: tools/server, common/chat.cpp): so here.
    """

    def render(said: Conversation) -> Rendering:
        try:
            text = str(ask("/apply-template", said.request())["prompt"])
        except Failure as failure:
            if failure.code != "engine-refused":
                raise
            return Rendering((), spell, refused=failure.message.partition(": ")[2] or failure.message)
        answer = ask("/tokenize", {"content": text, "add_special": adds_special, "parse_special": True,
                                   "with_pieces": False})
        return Rendering(tuple(answer["tokens"]), spell, prompt=text)

    def spell(ids: Sequence[int]) -> str:
        return str(ask("/detokenize", {"tokens": list(ids)})["content"]) if ids else ""

    return render

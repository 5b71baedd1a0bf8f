"""Embeddings and reranking: what a client sends, in one form for every engine, and answers in one form back.

Pure, and of the standard library alone. Which requests there are is the task's to say (`SERVE task`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from modelkit.contract import checks
from modelkit.contract.checks import Check, shown
from modelkit.contract.errors import ContractError, invalid, missing, unsupported, wrong_type
from modelkit.contract.profile import Limits, Profile
from modelkit.contract.request import anything, dropped, fields, model_name

EMBEDDINGS = "/v1/embeddings"
RERANK = "/v1/rerank"

TASK_OF_PATH: Mapping[str, str] = {"/v1/chat/completions": "chat", "/v1/completions": "chat", EMBEDDINGS: "embed",
                                   RERANK: "rerank"}
"""Paths that one task alone answers."""

_DOES = {"chat": "answers in text", "embed": "makes embeddings", "rerank": "orders documents"}


def other_task(path: str, profile: Profile) -> ContractError | None:
    """The refusal of a path that another task than the profile's answers."""
    wanted = TASK_OF_PATH.get(path, profile.task)
    if wanted == profile.task:
        return None
    message = f"this model {_DOES[profile.task]}; for {path} its Modelfile must say `SERVE task {wanted}`"
    return ContractError(400, "task_not_served", message)


def embeddings(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /v1/embeddings."""
    model = model_name(body, profile)
    request = fields(body, _EMBEDDINGS, profile.limits)
    if "input" not in request:
        raise missing("input")
    if "dimensions" in request:
        _presume_shortened(request["dimensions"], profile)
    return {"encoding_format": "float", **request, "model": model}


def rerank(body: dict[str, Any], profile: Profile) -> dict[str, Any]:
    """POST /v1/rerank."""
    model = model_name(body, profile)
    said = fields(body, _RERANK, profile.limits)
    for name in ("query", "documents"):
        if name not in said:
            raise missing(name)
    request = {"model": model, "query": said["query"], "documents": said["documents"]}
    if "top_n" in said:
        request["top_n"] = said["top_n"]
    return request


def reranked(answer: bytes, asked: dict[str, Any]) -> bytes:
    """An engine's answer to a rerank request: the documents as they were sent, if they are wanted back."""
    value = json.loads(answer)
    value["results"] = [_result(one, asked) for one in value["results"]]
    return json.dumps(value, ensure_ascii=False).encode()


def _result(one: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    index = one["index"]
    found = {"index": index, "relevance_score": one["relevance_score"]}
    if asked.get("return_documents") is not False:
        said = asked["documents"][index]
        found["document"] = {"text": said["text"] if isinstance(said, dict) else said}
    return found


def _presume_shortened(dimensions: int, profile: Profile) -> None:
    if profile.matryoshka is False:
        raise unsupported("dimensions", "`dimensions` is not supported: this model's embeddings were not trained to "
                          "be cut (`SERVE matryoshka true` says that they were)")
    if isinstance(profile.matryoshka, tuple) and dimensions not in profile.matryoshka:
        known = ", ".join(map(str, profile.matryoshka))
        raise invalid("dimensions", f"`dimensions` is {shown(dimensions)}; this model's embeddings may have {known}")


def _query(value: Any, param: str, limits: Limits) -> str:
    """A text, or an object with one."""
    if isinstance(value, dict):
        for name in value:
            if name != "text":
                raise checks.unknown(f"{param}.{name}", name, ("text",))
        if value.get("text") is None:
            raise missing(f"{param}.text")
        value, param = value["text"], f"{param}.text"
    if not isinstance(value, str):
        raise wrong_type(param, "a string, or an object with `text`", value)
    if not value:
        raise invalid(param, f"`{param}` is empty; there is nothing to compare")
    return value


def _documents(value: Any, param: str, limits: Limits) -> list[str]:
    if not isinstance(value, list):
        raise wrong_type(param, "a list of documents", value)
    if not value:
        raise invalid(param, f"`{param}` is empty; there is nothing to order")
    if len(value) > limits.documents:
        raise invalid(param, f"`{param}` has {len(value)} documents; it may have {limits.documents}")
    return [_query(one, f"{param}[{index}]", limits) for index, one in enumerate(value)]


_EMBEDDINGS: Mapping[str, Check] = {
    "model": anything,
    "input": checks.prompts("inputs", "there is nothing to embed"),
    "encoding_format": checks.one_of("float", "base64"),
    "dimensions": checks.integer(1),
    "user": dropped,
}

_RERANK: Mapping[str, Check] = {
    "model": anything,
    "query": _query,
    "documents": _documents,
    "top_n": checks.integer(1),
    "return_documents": checks.boolean,
    "max_chunks_per_doc": checks.refused("a document that is too long is an error"),
    "max_tokens_per_doc": checks.refused("a document that is too long is an error"),
    "truncation": checks.unless((False,), checks.refused("nothing is cut off silently")),
    "user": dropped,
}

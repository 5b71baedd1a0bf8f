"""What a stage with `SERVE task embed` or `rerank` is: its pooling, and whether the model can do it. Pure."""

from __future__ import annotations

from modelkit.failure import Failure
from modelkit.models.facts import ModelFacts
from modelkit.models.pooling_facts import NOTHING_SAID
from modelkit.planning.plan import Origin


def presume_can(task: str, model: ModelFacts | None, reference: str, adapters: bool) -> None:
    """Raises Failure for a model that cannot do the task, or not in this release."""
    if task == "classify":
        raise Failure("task-not-yet", "`SERVE task classify` is not possible yet", hint="it is chat, embed or rerank")
    if task == "chat":
        return
    if adapters:
        raise Failure("adapter-not-for-task", f"a stage with `SERVE task {task}` takes no ADAPTER in this release",
                      hint="merge the adapter into its base, and name the result in FROM")
    said = model.pooling if model is not None else NOTHING_SAID
    if task == "embed" and said.modules:
        raise Failure("embedding-modules", f"{reference} has a {said.modules[0]} layer behind the model, which this "
                      "release does not carry: its embeddings would be other ones",
                      hint="take an embedding model whose modules.json has only Transformer, Pooling and Normalize")
    if task == "rerank" and model is not None and not said.classifier:
        raise Failure("not-a-reranker", f"{reference} has no head that scores a document",
                      hint="name a reranker (a cross-encoder), or write `SERVE task embed`")


def pooling_of(model: ModelFacts | None) -> tuple[str, Origin]:
    """The pooling where the Modelfile says none: the model's own files', else what vLLM does with such a model."""
    said = model.pooling if model is not None else NOTHING_SAID
    if said.pooling is not None:
        return said.pooling, Origin(kind="model")
    return ("cls" if said.encoder else "last"), Origin(kind="family" if said.encoder else "default")

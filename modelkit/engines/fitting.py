"""A plan as memory and speed see it: what its engine would really be told, as one value."""

from __future__ import annotations

from typing import Any

from modelkit.engines.llama_cpp_words import config
from modelkit.engines.llama_cpp_words import words as own_words
from modelkit.engines.llama_rules import drafted
from modelkit.engines.llama_settings import BATCH, speculation
from modelkit.llamacpp.room import chat_room, draft_room, pooled_room
from modelkit.planning.fit.serving import Serving
from modelkit.planning.forms import OWN
from modelkit.planning.plan import Plan


def serving(plan: Plan) -> Serving:
    """How the plan's engine would serve it. Raises Failure for a FLAG whose value the engine does not take."""
    if plan.engine_name == "llama-server" or (plan.engine_name == "llama.cpp" and _provider(plan) != OWN):
        return _llama_server(plan)
    if plan.engine_name == "llama.cpp":
        return _own(plan)
    if plan.engine_name == "vllm":
        from modelkit.engines import vllm_fitting

        return vllm_fitting.serving(plan)
    return _like_vllm(plan)


def _own(plan: Plan) -> Serving:
    """One context of our own engine, whose cells all conversations share."""
    said = config(own_words(plan))
    room = chat_room(said) if said.task == "chat" else pooled_room(said)
    drafts = draft_room(said) if said.draft is not None else None
    return Serving(
        "llama.cpp", said.context_length, said.max_concurrency, said.kv_cache, provider=OWN, kv_tokens=room.tokens,
        batch=room.physical, sequences=room.sequences, outputs=room.outputs, flash_attention=said.flash_attention,
        full_windows=True, gpu_layers=said.gpu_layers, mmap=said.use_mmap,
        draft=(drafts.tokens, drafts.sequences) if drafts else (0, 0), threads=said.threads,
        task=said.task)


def _llama_server(plan: Plan) -> Serving:
    """A slot for each conversation, with its own part of the cache: the flags of `llama_words` (llama.cpp b11549)."""
    slots, kv_type = plan.max_concurrency, str(_said(plan, "serve.kv_cache", "auto"))
    return Serving(
        "llama.cpp", plan.context_length, slots, {"auto": "f16", "fp8": "q8_0"}.get(kv_type, kv_type),
        provider=_provider(plan), kv_tokens=plan.context_length * slots, batch=int(_said(plan, "num_batch", BATCH)),
        sequences=slots, unified=False, outputs=slots * (1 + drafted(plan) if speculation(plan) else 1),
        gpu_layers=int(_said(plan, "num_gpu", -1)),
        mmap=_said(plan, "use_mmap", True) is not False,
        threads=int(_said(plan, "num_thread", 0)), task=plan.task)


def _provider(plan: Plan) -> str:
    """Who runs llama.cpp; while nobody is here, who would be taken."""
    if plan.engine is not None:
        return plan.engine.provider
    return OWN if plan.engine_name == "llama.cpp" else "xllamacpp"


def _said(plan: Plan, name: str, default: Any) -> Any:
    setting = plan.setting(name)
    return default if setting is None else setting.value


def _like_vllm(plan: Plan) -> Serving:
    """Of engines that divide a GPU's memory as vLLM does, by the language's own settings: their flags are not read."""
    share = _said(plan, "serve.gpu_memory", None)
    return Serving(plan.engine_name, plan.context_length, plan.max_concurrency,
                   {"auto": "auto", "f16": "float16", "bf16": "bfloat16"}.get(
                       str(_said(plan, "serve.kv_cache", "auto")), "fp8"),
                   gpu_memory=None if share is None else float(share),
                   tensor_parallel=int(_said(plan, "serve.tensor_parallel", 1)),
                   pipeline_parallel=int(_said(plan, "serve.pipeline_parallel", 1)), task=plan.task)

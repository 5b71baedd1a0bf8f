"""`SERVE` keys: how a model is served, in words that no engine owns."""

from __future__ import annotations

from typing import NamedTuple

from modelkit.language.kinds import Boolean, Choice, Duration, Kind, Scalar, SecretReference, Share, Whole, Word


class ServeKey(NamedTuple):
    """One key of `SERVE`. `default` is None where the engine or the machine decides."""

    name: str
    kind: Kind
    default: Scalar | None
    doc: str
    effective: bool = True


_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?|\*"
_IMAGE = r"[a-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[A-Za-z0-9._-]+)*(:[A-Za-z0-9_.-]+)?(@sha256:[0-9a-f]{64})?"

_ROWS = (
    ServeKey("max_concurrency", Whole(1, 4096), None, "Conversations that are answered at the same time."),
    ServeKey("replicas", Whole(1, 1024), 1, "Copies of the engine behind one address."),
    ServeKey("max_replicas", Whole(1, 1024), None, "Copies at most, where the platform adds them under load."),
    ServeKey("tensor_parallel", Whole(1, 1024), 1, "GPUs that share one copy of the model."),
    ServeKey("pipeline_parallel", Whole(1, 1024), 1, "Groups of GPUs that hold the model's layers one after another."),
    ServeKey("accelerator", Word("the name of a GPU (`L4`, `H100`), or `cpu`"), None,
             "What the stage runs on, where that is another machine."),
    ServeKey("image", Word("a container image", _IMAGE), None,
             "The engine's container image; its digest goes into the lock."),
    ServeKey("gpu_memory", Share(0, 1, above_low=True), 0.9, "The part of the GPU's memory that the engine may take."),
    ServeKey("kv_cache", Choice(("auto", "f16", "bf16", "fp8", "q8_0", "q4_0")), "auto",
             "The precision of the attention cache."),
    ServeKey("prefix_caching", Boolean(), True, "Whether prompts that begin alike share work."),
    ServeKey("keep_alive", Duration(bare=True), None, "How long an idle model stays in memory; -1 for ever."),
    ServeKey("port", Whole(1, 65535), 8484, "The TCP port of the stable address."),
    ServeKey("host", Word("a host name or an IP address", _HOST), "127.0.0.1",
             "The address to listen on; off loopback an API key is required."),
    ServeKey("api_key", SecretReference(), None, "Where the key that clients must send is kept; never the key."),
    ServeKey("tool_parser", Word("the name of a parser"), None, "How tool calls are read from the model's output."),
    ServeKey("reasoning_parser", Word("the name of a parser"), None, "How reasoning is told from the answer."),
    ServeKey("thinking", Choice(("auto", "true", "false", "low", "medium", "high", "max")), "auto",
             "Whether, and how hard, the model thinks when the client does not say."),
    ServeKey("speculative", Word("`off`, `ngram` or a method's name"), "off", "How tokens are guessed ahead."),
    ServeKey("task", Choice(("chat", "embed", "rerank", "classify")), "chat",
             "What the model is served for: answers in text, embeddings, or the order of documents. `classify` is not "
             "yet."),
    ServeKey("pooling", Choice(("auto", "mean", "cls", "last")), "auto",
             "What of a text's vectors is its embedding; `auto` is what the model's own files say."),
    ServeKey("matryoshka", Boolean(), None,
             "Whether clients may ask for shorter embeddings (`dimensions`), where the model's files do not say it."),
)

SERVE_KEYS: dict[str, ServeKey] = {row.name: row for row in _ROWS}

SERVE_SYNONYMS = {
    "concurrency": "max_concurrency", "parallel": "max_concurrency", "num_parallel": "max_concurrency",
    "max_num_seqs": "max_concurrency", "tensor_parallel_size": "tensor_parallel", "tp": "tensor_parallel",
    "gpu_memory_utilization": "gpu_memory", "kv_cache_dtype": "kv_cache", "cache_type": "kv_cache",
    "enable_prefix_caching": "prefix_caching", "tool_call_parser": "tool_parser", "key": "api_key", "think": "thinking",
}
"""What engines call the same thing; a hint names ours."""

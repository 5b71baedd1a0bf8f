"""Ollama's parameters: their kinds, ranges, defaults, and what became of the ones that are gone."""

from __future__ import annotations

from typing import NamedTuple

from modelkit.language.kinds import Boolean, Kind, Real, Scalar, Text, Whole

_INT32 = 2**31 - 1


class Parameter(NamedTuple):
    """One `PARAMETER`. `default` is Ollama's, None where it depends on the model or the machine."""

    name: str
    kind: Kind
    default: Scalar | None
    doc: str
    effective: bool = True


class Removed(NamedTuple):
    """A parameter that Ollama once had, or that people expect: since when it is gone, and what to write instead."""

    name: str
    since: str  # "2024-12", or "" for one that never was
    instead: str


_ROWS = (
    Parameter("temperature", Real(0, 2), 0.8, "How random the choice of tokens is; 0 always takes the likeliest."),
    Parameter("top_p", Real(0, 1, above_low=True), 0.9, "Keeps the likeliest tokens up to this total probability."),
    Parameter("top_k", Whole(-1, _INT32), 40, "Keeps this many of the likeliest tokens; 0 or -1 keeps all."),
    Parameter("min_p", Real(0, 1), 0.0, "Drops tokens less likely than this share of the likeliest one."),
    Parameter("typical_p", Real(0, 1, above_low=True), 1.0, "Locally typical sampling; 1 turns it off."),
    Parameter("repeat_penalty", Real(0, 10, above_low=True), 1.0,
              "Makes tokens that already occurred less likely; 1 turns it off."),
    Parameter("repeat_last_n", Whole(-1, _INT32), 64,
              "How many tokens `repeat_penalty` looks back; 0 none, -1 the whole context."),
    Parameter("presence_penalty", Real(-2, 2), 0.0, "Lowers tokens that occurred at all."),
    Parameter("frequency_penalty", Real(-2, 2), 0.0, "Lowers tokens by how often they occurred."),
    Parameter("seed", Whole(-1, 2**32 - 1), -1, "Makes sampling repeatable; -1 draws a new seed for each request."),
    Parameter("stop", Text(), None, "A text that ends the answer and is left out of it; may be said several times."),
    Parameter("num_predict", Whole(1, _INT32, also=(-1, -2)), -1,
              "The most tokens of an answer when the client sets no limit; -1 or -2 for no limit but the context."),
    Parameter("num_ctx", Whole(1, _INT32), None,
              "The context of one conversation in tokens, prompt and answer together."),
    Parameter("num_keep", Whole(-1, _INT32), 4, "Tokens kept from the start when the context overflows; -1 all."),
    Parameter("num_batch", Whole(1, _INT32), 512, "Prompt tokens that are worked on at once."),
    Parameter("num_gpu", Whole(-1, _INT32), -1, "Layers to put on the GPU; -1 as many as fit, 0 none."),
    Parameter("main_gpu", Whole(0, 1023), None, "The one GPU to use."),
    Parameter("num_thread", Whole(0, 4096), 0, "CPU threads; 0 lets the engine choose."),
    Parameter("use_mmap", Boolean(), None, "Whether the model file is mapped into memory."),
    Parameter("draft_num_predict", Whole(0, 1024), 4, "Tokens that are guessed ahead, one after another."),
)

PARAMETERS: dict[str, Parameter] = {row.name: row for row in _ROWS}

DEPRECATED = ("f16_kv", "logits_all", "low_vram", "mirostat", "mirostat_eta", "mirostat_tau", "penalize_newline",
              "use_mlock", "vocab_only")
"""Accepted and ignored, by Ollama and by us."""

_NOT_PARAMETERS = (
    Removed("embedding_only", "2024-05", "`SERVE task embed`"),
    Removed("num_gqa", "2024-05", "nothing: the model file says it"),
    Removed("rope_frequency_base", "2024-05", "nothing: the model file says it"),
    Removed("rope_frequency_scale", "2024-05", "nothing: the model file says it"),
    Removed("numa", "2024-08", "`FLAG --numa distribute` in a stage on llama.cpp"),
    Removed("tfs_z", "2024-12", "`PARAMETER min_p`"),
    Removed("env", "", "the environment that `modelkit up` is started in"),
    Removed("grammar", "", "`response_format` in the request"),
    Removed("keep_alive", "", "`SERVE keep_alive`"),
    Removed("tensor_split", "", "`SERVE tensor_parallel`"),
    Removed("think", "", "`SERVE thinking`"),
    Removed("num_parallel", "", "`SERVE max_concurrency`"),
)
REMOVED: dict[str, Removed] = {row.name: row for row in _NOT_PARAMETERS}

SYNONYMS = {
    "max_tokens": "num_predict", "max_completion_tokens": "num_predict", "max_new_tokens": "num_predict",
    "n_predict": "num_predict", "context_length": "num_ctx", "max_model_len": "num_ctx", "n_ctx": "num_ctx",
    "ctx_size": "num_ctx", "repetition_penalty": "repeat_penalty", "n_gpu_layers": "num_gpu", "gpu_layers": "num_gpu",
    "threads": "num_thread", "n_batch": "num_batch", "batch_size": "num_batch", "stop_sequence": "stop",
    "stop_sequences": "stop", "typ_p": "typical_p",
}
"""What other tools call the same thing; a hint names ours."""

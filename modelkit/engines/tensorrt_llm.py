"""TensorRT-LLM 1.2 in its image: trtllm-serve with `tensorrt_llm_server.py` in front, its settings in a YAML file.

Made from the sources of its repository, for its packages are not on the public index, and never run by this project,
whose machines have no GPU: what is said of it is what its source says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from modelkit.engines import contained, pooling, table
from modelkit.engines.contained import ours, said
from modelkit.engines.container import CONFIG, Container
from modelkit.engines.flags import presume_flags
from modelkit.engines.flags import table as flag_table
from modelkit.engines.launch import File, Launch
from modelkit.engines.reserved import RESERVED
from modelkit.engines.tensorrt_llm_settings import READABLE, SETTINGS
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Origin, OriginKind, Plan

__all__ = ["OURS", "SETTINGS", "container", "explain_exit", "launch", "lower", "options", "presume_machine", "words"]

PROGRAM = "tensorrt_llm_server.py"
OPTIONS_FILE = "trtllm.yaml"
IN_FILE = "--extra_llm_api_options "
"""Stands before a field of LlmArgs in `words`: `--extra_llm_api_options max_seq_len`."""

OURS = RESERVED["tensorrt-llm"]
"""Flags that a Modelfile may not set: they say where the engine listens, what a request means, or what code it runs, or
the file says the same and would win. Dashes stand for underscores."""

_AT_ONCE = 8192
"""Tokens of a prompt that it works on at once unless it is told to split it: `max_num_tokens`' default."""


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What each setting of the plan becomes on TensorRT-LLM."""
    return table.lower(SETTINGS, plan)


def presume_machine(plan: Plan) -> None:
    """TensorRT-LLM computes on the machines of its platform, of which nothing is known here."""


def launch(plan: Plan) -> Launch:
    """Raises Failure: TensorRT-LLM is no process of this machine."""
    contained.not_a_process("TensorRT-LLM")


def container(plan: Plan) -> Container:
    """TensorRT-LLM in its image. Raises Failure for what it can't do: adapters, and weights that it can't read."""
    assert plan.engine is not None, "a plan with needs has no container"
    _presume(plan)
    words_of_line = [word for word in words(plan) if not word.flag.startswith(IN_FILE)]
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in options(plan).items())
    return contained.container(plan, PROGRAM, words_of_line, (File(OPTIONS_FILE, text),),
                               metrics="/prometheus/metrics")


def _presume(plan: Plan) -> None:
    assert plan.engine is not None
    if plan.adapters:
        one = plan.adapters[0]
        raise Failure("adapter-not-here", f"TensorRT-LLM cannot serve the adapter {one.reference} "
                      f"({one.origin.where or one.origin}) under a model name of its own",
                      hint="merge it into its base and name the result in FROM, or write `ENGINE vllm`")
    known = flag_table("tensorrt-llm", plan.engine.version)
    pooling.presume_served(plan, lower(plan))
    contained.presume_known(plan, "TensorRT-LLM", known.lists if known else {})
    presume_flags("tensorrt-llm", plan.engine.version, plan.flags, OURS)
    if (unmade := contained.must_be_made(plan)) is not None:
        contained.refuse_unmade(plan, unmade, "name a repository that has it in the stage's FROM")
    wish = plan.setting("quantize")
    if wish is not None and wish.value in ("int8", "awq", "gptq", "w4a16"):
        raise Failure("precision-not-there", f"TensorRT-LLM does not read weights that modelkit makes of precision "
                      f"{wish.value} ({wish.origin.where or wish.origin})",
                      hint=f"take `QUANTIZE {READABLE[0]}`, or FROM a repository that NVIDIA's Model Optimizer made")


def words(plan: Plan) -> tuple[Word, ...]:
    """Every option, field of the options file and variable that TensorRT-LLM gets, with its origin and reason."""
    return (*_line_words(plan), *contained.author(plan), *_file_words(plan),
            *contained.variable_words(plan, ("TRTLLM_NO_USAGE_STATS",)))


def _line_words(plan: Plan) -> Iterator[Word]:
    yield Word("", contained.model(plan), plan.base_origin or Origin(kind="modelfile"), "FROM")
    yield ours("--host", "0.0.0.0", "it would listen to itself alone", "platform")
    yield ours("--port", str(contained.PORT), "inside the container; the address outside is the platform's", "platform")
    yield ours("--backend", "pytorch", "the one that loads safetensors")
    yield ours("--extra_llm_api_options", f"{CONFIG}/{OPTIONS_FILE}", "the fields below; what stands there wins")
    for one in lower(plan):
        if one.target.startswith("--") and one.value is not None:
            yield Word(one.target, str(one.value), said(plan, one.setting), one.reason or SETTINGS[one.setting].doc,
                       one.setting)


def _file_words(plan: Plan) -> Iterator[Word]:
    for field, (value, origin, reason, setting) in _fields(plan).items():
        shown = value if isinstance(value, str) else json.dumps(value)
        yield Word(IN_FILE + field, shown, origin, reason, setting)


def options(plan: Plan) -> dict[str, Any]:
    """The options file: fields of LlmArgs, those of a part of it together."""
    made: dict[str, Any] = {}
    for field, (value, *_) in _fields(plan).items():
        part, _, name = field.rpartition(".")
        (made.setdefault(part, {}) if part else made)[name] = value
    return made


def _fields(plan: Plan) -> dict[str, tuple[Any, Origin, str, str]]:
    """Each field with its value, its origin, the reason and the setting that it comes from."""
    def own(value: Any, reason: str, kind: OriginKind = "engine") -> tuple[Any, Origin, str, str]:
        return value, Origin(kind=kind), reason, ""

    made = {
        "max_seq_len": (plan.context_length, said(plan, "num_ctx"), "prompt and answer of one conversation", "num_ctx"),
        "max_input_len": own(plan.context_length, "its own default is 1024 tokens of prompt"),
        "max_batch_size": (plan.max_concurrency, said(plan, "serve.max_concurrency"),
                           "conversations at once; who comes later waits", "serve.max_concurrency"),
        "enable_chunked_prefill": own(plan.context_length > _AT_ONCE, "longer prompts than it works on at once"),
        "guided_decoding_backend": own("xgrammar", "JSON schemas and choices are refused without one"),
        "sampler_type": own("TRTLLMSampler", "it takes penalties, min_p and seed"),
        "return_perf_metrics": own(True, "what the platform reads at /prometheus/metrics", "platform"),
        "trust_remote_code": own(False, "no code comes with a model"),
        "kv_cache_config.free_gpu_memory_fraction": own(0.9, "the language's default", "default"),
    }
    if plan.source is not None and plan.source.kind == "hub":
        made["revision"] = own(plan.source.revision, "a branch of the Hub may move, a commit not", "lock")
    for one in lower(plan):
        if one.value is not None and one.target and one.target in _FILE_TARGETS:
            reason = one.reason or SETTINGS[one.setting].doc
            made[one.target] = (one.value, said(plan, one.setting), reason, one.setting)
    return dict(sorted(made.items()))


_FILE_TARGETS = frozenset((
    "max_seq_len", "max_batch_size", "tensor_parallel_size", "pipeline_parallel_size", "reasoning_parser",
    "kv_cache_config.dtype", "kv_cache_config.enable_block_reuse",
    "kv_cache_config.free_gpu_memory_fraction"))


def explain_exit(tail: Iterable[str]) -> tuple[str, str] | None:
    """What happened, and what to do, from its last lines; None for words that are in no source that was read."""
    from modelkit.engines.contained_exits import TENSORRT_LLM, explain

    return explain(TENSORRT_LLM, tail)

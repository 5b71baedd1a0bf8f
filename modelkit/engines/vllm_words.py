"""Every flag and environment variable that vLLM gets for a plan, each with its origin and reason.

The launch, the container and `modelkit explain` are all made from these words, so that none can say what another
doesn't. Facts about vLLM here were measured on 0.32.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from modelkit.engines import pooling, table
from modelkit.engines.container import CONFIG, MODEL
from modelkit.engines.flags import table as table_of
from modelkit.engines.launch import RUN, File
from modelkit.engines.sources import sources
from modelkit.engines.vllm_adapters import lora_words, served_name
from modelkit.engines.vllm_hardware import capability, cpu_dtype, on_cpu
from modelkit.engines.vllm_settings import SETTINGS, TAGGED_PARSERS, TEMPLATE_FILE
from modelkit.engines.word import Word
from modelkit.places import place
from modelkit.planning.plan import Lowered, Origin, OriginKind, Plan

MIDDLEWARE = "modelkit.contract.middleware.Contract"

GUIDANCE = json.dumps({"backend": "guidance", "disable_any_whitespace": True, "disable_additional_properties": True})
"""JSON has no blanks between its parts: small models that may write blanks go on writing them. And an object has the
properties that its schema names, unless that says otherwise: vLLM's own schema of a demanded call counts on it.
"""

PORT = 8000
"""Where vLLM listens in a container."""

DRAIN_SECONDS = 60
"""How long requests in flight may take in a container after SIGTERM."""

_BY_PLAN = ("--lora-modules", "--max-model-len", "--max-num-seqs")
"""Targets of settings that the plan's own fields say."""

_KV_AT_MOST = 4 * 1024**3
_KV_UNKNOWN = 128 * 1024  # bytes a token, where the model's shape is unknown: that of an 8B model
_BLOCK = 128  # tokens, vLLM's on CPUs


def words(plan: Plan) -> tuple[Word, ...]:
    """All of them, for a process of this machine or for the plan's image."""
    return (*model_words(plan), *address_words(plan), *setting_words(plan), *author_words(plan),
            *variable_words(plan))


def contained(plan: Plan) -> bool:
    return plan.image is not None


def room(plan: Plan) -> str:
    """The folder in which vLLM finds its files."""
    return CONFIG if contained(plan) else RUN


def model_words(plan: Plan) -> Iterator[Word]:
    """What is served, by digest or by revision."""
    origin = plan.base_origin or Origin(kind="modelfile")
    if not contained(plan):
        path = plan.weights.path if plan.weights is not None else plan.reference  # while it is not here
        yield Word("", path, origin, "FROM, in the form that vLLM loads")
    elif plan.source is None:
        yield Word("", plan.reference, origin, "FROM, while nobody has looked what it is by now")
    elif plan.source.kind == "hub":
        yield Word("", plan.source.name, origin, "FROM, fetched by the engine itself")
        for flag in ("--revision", "--tokenizer-revision"):
            yield Word(flag, plan.source.revision, Origin(kind="lock"), "a branch of the Hub may move, a commit not")
    else:
        yield Word("", MODEL, origin, "FROM, mounted by the platform")


def address_words(plan: Plan) -> Iterator[Word]:
    """Where it listens, and what it does when it is told to end."""
    if not contained(plan):
        yield _ours("--uds", f"{RUN}/engine.sock", "only this user reaches it; the stable address is the edge's")
        yield _ours("--shutdown-timeout", "0", "requests were drained before; any other value is waited for in full")
        return
    yield _of("platform", "--host", "0.0.0.0", "the platform's own network reaches it")
    yield _of("platform", "--port", str(PORT), "inside the container; the address outside is the platform's")
    yield _of("platform", "--shutdown-timeout", str(DRAIN_SECONDS), "0 would cut requests off when a copy is replaced")


def setting_words(plan: Plan) -> Iterator[Word]:
    """Everything but the model, the address, and the author's own flags."""
    name, limits = _origin(plan, "num_ctx"), plan.profile["limits"]
    yield _of("modelfile", "--served-model-name", served_name(plan), "NAME; another name is a 404")
    yield Word("--max-model-len", str(plan.context_length), name, "prompt and answer of one conversation", "num_ctx")
    yield Word("--max-num-seqs", str(plan.max_concurrency), _origin(plan, "serve.max_concurrency"),
               "conversations at once; who comes later waits", "serve.max_concurrency")
    yield _ours("--load-format", "safetensors", "`auto` would fall back to pickled weights")
    yield _ours("--generation-config", "vllm", "the model folder's own defaults are not the Modelfile's")
    yield _ours("--middleware", MIDDLEWARE, "the contract: system, few-shots, stop, seed and defaults of each request")
    if plan.task == "chat":
        yield _ours("--max-logprobs", str(max(20, limits["top_logprobs"])), "as many as a request may ask for")
    yield _ours("--allowed-media-domains", "none.invalid", "no list would mean every host")
    yield _ours("--disable-fastapi-docs", None, "nothing that the contract does not cover")
    yield _ours("--disable-uvicorn-access-log", None, "who is served logs requests")
    yield _ours("--uvicorn-log-level", "warning", "the engine's own log says the rest")
    yield from _device_words(plan)
    lowered = [one for one in table.lower(SETTINGS, plan) if one.target not in _BY_PLAN]
    for one in lowered:
        if one.target.startswith("--") and one.value is not None and one.value is not False:
            value = None if one.value is True else str(one.value).replace(RUN, room(plan))
            yield Word(one.target, value, _origin(plan, one.setting), one.reason or SETTINGS[one.setting].doc,
                       one.setting)
    yield from pooling.vllm_words(plan)
    if plan.task == "chat":
        yield from _chat_words(plan, lowered)
    yield from lora_words(plan, contained=contained(plan))


def _chat_words(plan: Plan, lowered: list[Lowered]) -> Iterator[Word]:
    """How answers are read."""
    if not any(one.target == "--tool-call-parser" for one in lowered):
        yield _ours("--tool-call-parser", "hermes", "forced tools want one; none is known for this model's own calls")
    yield _ours("--enable-auto-tool-choice", None, "whether the model may choose its tools is the contract's to say")
    if guided(plan):
        yield _ours("--structured-outputs-config", GUIDANCE, "the compiler of our own engine: one schema, one answer")
    elif _has(plan, "--tool-strict-level"):  # 0.29 keeps to the schema without it
        yield _ours("--tool-strict-level", "parameter", "without it forced arguments ignore the tool's schema")


def guided(plan: Plan) -> bool:
    """Whether llguidance shapes answers. Calls of some models can be forced by xgrammar's tags alone."""
    parser = plan.setting("serve.tool_parser")
    return parser is None or str(parser.value) not in TAGGED_PARSERS


def _has(plan: Plan, flag: str) -> bool:
    """Whether the plan's version has a flag; one that no table is shipped for is taken for a newer one."""
    known = table_of("vllm", plan.engine.version) if plan.engine else None
    return known is None or flag in known.by_word


def author_words(plan: Plan) -> Iterator[Word]:
    """The Modelfile's FLAGs as they are written: the last, so that they win."""
    for index, word in enumerate(plan.flags):
        origin = plan.flag_origins[index] if index < len(plan.flag_origins) else Origin(kind="modelfile")
        if is_flag(word):
            follows = plan.flags[index + 1:index + 2]
            value = follows[0] if follows and not is_flag(follows[0]) else None
            yield Word(word, value, origin, "the author's own FLAG, passed as written")
        elif index == 0 or not is_flag(plan.flags[index - 1]):
            yield Word("", word, origin, "the author's own FLAG, passed as written")


def is_flag(word: str) -> bool:
    return word.startswith("-") and not word[1:2].isdigit() and word != "-"


def variable_words(plan: Plan) -> Iterator[Word]:
    """The environment, complete but for what every process gets."""
    limits, at = plan.profile["limits"], room(plan)
    offline = "nothing is fetched behind the lock's back"
    if not (contained(plan) and plan.source is not None and plan.source.kind == "hub"):
        yield _ours("HF_HUB_OFFLINE", "1", offline)
        yield _ours("TRANSFORMERS_OFFLINE", "1", offline)
    for name in ("HF_HUB_DISABLE_TELEMETRY", "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        yield _ours(name, "1", "nobody is told what runs here")
    yield _ours("VLLM_MEDIA_URL_ALLOW_REDIRECTS", "0", "a request cannot make the engine fetch what it should not")
    yield _ours("MODELKIT_PROFILE", f"{at}/profile.json", "what a request means")
    yield _ours("PYTHONPATH", f"{at}/python", "where the contract is: modelkit is not installed there")
    yield _ours("PYTHONSAFEPATH", "1", "its helpers would import from the working directory first")
    yield _ours("PYTHONNOUSERSITE", "1", "packages of a user are not the engine's")
    yield _ours("PYTHONUNBUFFERED", "1", "its last words are not lost")
    if not contained(plan) and plan.engine is not None:
        yield _ours("VLLM_CACHE_ROOT", str(place("cache") / f"vllm-{plan.engine.version}"),
                    "what it learns of a model's class is kept")
    yield _ours("VLLM_HOST_IP", "127.0.0.1", "its parts talk over TCP with each other: on loopback")
    yield _ours("GLOO_SOCKET_IFNAME", "lo", "on loopback, not on the address that the host's name stands for")
    yield _ours("VLLM_LOGGING_LEVEL", "INFO", "what `explain_exit` reads")
    for name, value in (("VLLM_LOGGING_COLOR", "0"), ("NO_COLOR", "1")):
        yield _ours(name, value, "a log is a file")
    yield _ours("VLLM_MAX_STOP_STRINGS", str(limits["stop"] + len(plan.profile["stop"])),
                "the Modelfile's and a client's; vLLM's own limit is 4")
    if plan.task == "chat" and guided(plan):
        yield _ours("VLLM_ENFORCE_STRICT_TOOL_CALLING", "0", "forced calls as JSON schemas; its own tags need xgrammar")
    yield _ours("VLLM_MAX_N_SEQUENCES", str(limits["choices"]), "the contract's limit for `n`")
    if on_cpu(plan):
        yield from _cpu_variables(plan)


def _device_words(plan: Plan) -> Iterator[Word]:
    if on_cpu(plan):
        dtype = cpu_dtype(plan)
        yield _of("hardware", "--dtype", dtype, "what CPUs compute with" if dtype == "bfloat16" else
                  "vectors are the same as elsewhere" if plan.task != "chat" else
                  "this processor has to emulate bfloat16, which takes four times as long")
        yield _of("hardware", "--enforce-eager", None, "compiling takes minutes and a compiler")
        yield _of("hardware", "--kv-cache-memory-bytes", str(kv_cache_bytes(plan)),
                  "all conversations at full length, bounded; vLLM would take nearly all of the memory")
        return
    sm = capability(plan)
    if sm is not None and sm < 80:
        yield _of("hardware", "--dtype", "half", f"{plan.accelerator} (sm_{sm}) has no bfloat16")
    else:
        yield _ours("--dtype", "auto", "as the weights are stored")
    if plan.setting("serve.gpu_memory") is None:
        yield _of("default", "--gpu-memory-utilization", "0.9", "the language's default; vLLM's own is 0.92")


def kv_cache_bytes(plan: Plan) -> int:
    """Room for the attention cache on CPUs: all conversations at full length, bounded, but one always fits.

    vLLM takes the room at its start and lets conversations wait when it is full; left alone it would take nearly all
    of the machine's memory.
    """
    token = (plan.kv_bytes_per_token or _KV_UNKNOWN) * (2 if cpu_dtype(plan) == "float32" else 1)
    one = (plan.context_length + _BLOCK) * token
    return min(one * plan.max_concurrency, max(one, _KV_AT_MOST)) + 2 * _BLOCK * token


def _cpu_variables(plan: Plan) -> Iterator[Word]:
    # One function is compiled even with --enforce-eager: the first request for log-probabilities would take 15 s,
    # and end the engine where there is no C++ compiler.
    yield _of("hardware", "TORCH_COMPILE_DISABLE", "1", "no compiler is needed at the first log-probabilities")
    said = plan.setting("num_thread")
    asked = said is not None and int(said.value) > 0
    if said is not None and asked:
        yield Word("OMP_NUM_THREADS", str(int(said.value)), said.origin, "CPU threads", "num_thread")
    elif not contained(plan):
        yield _of("hardware", "OMP_NUM_THREADS", str(max(1, plan.cpus - 1)), "one less than there are cores")
    if asked or not contained(plan):
        # Half a GiB less memory, too. Threads must then be said: unset, they spin against the API server and cost
        # nine tenths of the speed.
        yield _of("hardware", "VLLM_ENABLE_V1_MULTIPROCESSING", "0", "one process less: 30 % less CPU time to start")


def config_files(plan: Plan) -> tuple[File, ...]:
    """The profile, the contract's sources, and the Modelfile's template."""
    # RUN is replaced in contents too; a system prompt that happens to contain it must stay as it is.
    profile = json.dumps(plan.profile, ensure_ascii=False, indent=1, sort_keys=True).replace(RUN, "\\u0040RUN\\u0040")
    found = [File("profile.json", profile + "\n"), *contract_sources()]
    if plan.chat_template is not None:
        found.append(File(TEMPLATE_FILE, plan.chat_template))
    return tuple(found)


def contract_sources() -> list[File]:
    """The contract's own source files under `python/`: modelkit is not installed where vLLM runs."""
    return sources("contract", says="The contract alone, for the engine that loads it.")


def _origin(plan: Plan, setting: str) -> Origin:
    said = plan.setting(setting)
    return said.origin if said is not None else Origin(kind="default")


def _ours(flag: str, value: str | None, reason: str) -> Word:
    return _of("engine", flag, value, reason)


def _of(kind: OriginKind, flag: str, value: str | None, reason: str) -> Word:
    return Word(flag, value, Origin(kind=kind), reason)

"""What engines that run in container images only have in common: their own server with the contract in front of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.resources import files
from typing import NoReturn

from modelkit.engines.container import CONFIG, MODEL, Container, Mount, SecretVariable
from modelkit.engines.launch import File
from modelkit.engines.table import Answer, Row, equal, lost, thinking, translated
from modelkit.engines.vllm_adapters import lora_mounts
from modelkit.engines.vllm_hardware import quantized_as
from modelkit.engines.vllm_settings import TEMPLATE_FILE, asks_nothing, unless
from modelkit.engines.vllm_words import author_words, config_files
from modelkit.engines.word import Word, argv, variables
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Origin, OriginKind, Plan

PORT = 8000
DRAIN_SECONDS = 60
TEMPLATE = f"{CONFIG}/{TEMPLATE_FILE}"

_GIB = 1024**3


CONTRACT_ROWS = (
    Row("system", equal("messages"), "the system prompt, where the client sends none"),
    Row("messages", equal("messages"), "few-shot turns, before the client's own"),
    Row("stop", equal("stop"), "stop strings"),
    *(Row(name, equal(name), doc) for name, doc in (
        ("temperature", "how random the choice is"), ("top_p", "nucleus sampling"),
        ("top_k", "the k likeliest tokens"), ("min_p", "tokens at least this likely, relative to the likeliest"))),
    Row("num_predict", lambda value, plan: Answer("equal", "max_tokens", None, "no limit but the context")
        if int(value) < 0 else Answer("translated", "max_tokens", value),
        "the answer's tokens, where the client sets no limit"),
    Row("serve.thinking", thinking, "whether the model thinks"),
)
"""What the contract does in every request, whatever the engine."""

PLACE_ROWS = (
    Row("serve.replicas", unless(1, lost("only platforms that run several copies have it")), "copies of the engine"),
    Row("serve.max_replicas", lost("only platforms that add copies under load have it"), "copies at most"),
    Row("serve.accelerator", equal("accelerator"), "what the stage runs on"),
    Row("serve.image", lambda value, plan: Answer("equal", "image", plan.image), "the engine's container image"),
    Row("serve.keep_alive", lost("a container stays until it is taken down"), "how long an idle model stays"),
    Row("serve.port", asks_nothing, "the stable address's"), Row("serve.host", asks_nothing, "the stable address's"),
    Row("serve.api_key", translated("MODELKIT_API_KEY", lambda value: None, "asked for by the engine's own server"),
        "the key that clients must send"),
)
"""What the platform does, or nobody."""


def container(plan: Plan, program: str, words: Iterable[Word], more: tuple[File, ...] = (), *,
              health: str = "/health", metrics: str = "/metrics") -> Container:
    """The program of `engines/servers` in the engine's image, with the profile, the contract and the model.

    The image's entry point stays: NVIDIA's prepares the driver's libraries and runs what follows it.
    """
    assert plan.image is not None and plan.source is not None, "a plan with needs has no container"
    said, source, gpus = tuple(words), plan.source, gpu_count(plan)
    secrets = [] if plan.api_key is None else [SecretVariable("MODELKIT_API_KEY", plan.api_key, "api-key")]
    if source.kind == "hub":
        secrets.append(SecretVariable("HF_TOKEN", "env:HF_TOKEN", "hf-token", optional=True))
    server = files("modelkit.engines.servers").joinpath(program).read_text("utf-8")
    mounts = () if source.kind == "hub" else (Mount(MODEL, source),)
    return Container(plan.image, ("python3", f"{CONFIG}/{program}", *argv(said)), env=variables(said),
                     secrets=tuple(secrets), files=(File(program, server), *more, *config_files(plan)),
                     mounts=(*mounts, *lora_mounts(plan)), port=PORT, health=health, metrics=metrics, gpus=gpus,
                     shm_bytes=8 * _GIB * gpus if gpus > 1 else 0, drain_seconds=DRAIN_SECONDS)


def model(plan: Plan) -> str:
    """What the engine is told to load; FROM itself while nobody has looked what it is."""
    if plan.source is None:
        return plan.reference
    return plan.source.name if plan.source.kind == "hub" else MODEL


def variable_words(plan: Plan, silent: Iterable[str] = ()) -> Iterator[Word]:
    """The environment. `silent` are the engine's own variables that keep it from telling what runs here."""
    if plan.source is not None and plan.source.kind != "hub":
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            yield ours(name, "1", "nothing is fetched behind the lock's back")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", *silent):
        yield ours(name, "1", "nobody is told what runs here")
    yield ours("MODELKIT_PROFILE", f"{CONFIG}/profile.json", "what a request means")
    yield ours("PYTHONPATH", f"{CONFIG}/python", "where the contract is: modelkit is not installed there")
    yield ours("PYTHONUNBUFFERED", "1", "its last words are not lost")


def gpu_count(plan: Plan) -> int:
    """GPUs of one copy."""
    shares = (plan.setting("serve.tensor_parallel"), plan.setting("serve.pipeline_parallel"))
    first, second = (1 if said is None else int(said.value) for said in shares)
    return first * second


def not_a_process(name: str) -> NoReturn:
    """For `launch`: these engines run in their images."""
    raise Failure("engine-in-image", f"{name} runs in its container image, not as a process of this machine",
                  hint="write `PLATFORM compose`, `quadlet` or `kubernetes` in this stage, or `ENGINE vllm`")


def presume_known(plan: Plan, engine: str, lists: Mapping[str, Iterable[str]]) -> None:
    """Raise Failure `unknown-parser` for a parser that is not in the engine's lists, as its table of flags has them."""
    for setting in ("tool_parser", "reasoning_parser"):
        said, known = plan.setting(f"serve.{setting}"), sorted(lists.get(f"{setting}s", ()))
        if said is None or not known or said.value in known:
            continue
        near = " or ".join(f"`{name}`" for name in get_close_matches(str(said.value), known, 3, 0.5))
        raise Failure("unknown-parser", f"{engine} has no {setting.replace('_', ' ')} `{said.value}` "
                      f"({said.origin.where or said.origin})",
                      hint=f"did you mean {near}?" if near else "it has " + ", ".join(known))


def must_be_made(plan: Plan) -> str | None:
    """QUANTIZE's word where the weights that the container gets are not of that precision; None where all is well."""
    said = plan.setting("quantize")
    row = None if said is None else PRECISIONS.get(str(said.value))
    if row is None or row.name == "none" or row.form != "safetensors" or plan.source is None:
        return None
    return None if plan.source.kind == "folder" or quantized_as(plan) is not None else row.name


def refuse_unmade(plan: Plan, word: str, instead: str) -> NoReturn:
    """For weights that nobody makes where the container runs."""
    assert plan.source is not None
    raise Failure("precision-not-pushed", f"{plan.source.name} is not {word}, and the machines of stage `{plan.stage}` "
                  "do not make it", hint=f"run `modelkit convert {plan.reference} --to safetensors --quantize {word}` "
                  f"here, `modelkit push` it, and write `FROM oci://…` in the stage; or {instead}")


def author(plan: Plan) -> Iterator[Word]:
    """The author's own FLAGs, the last, so that they win."""
    return author_words(plan)


def said(plan: Plan, setting: str) -> Origin:
    """Where a setting's value comes from."""
    found = plan.setting(setting)
    return found.origin if found is not None else Origin(kind="default")


def ours(flag: str, value: str | None, reason: str, kind: OriginKind = "engine") -> Word:
    """A word that modelkit says by itself."""
    return Word(flag, value, Origin(kind=kind), reason)

"""SGLang 0.5.23 in its image: its own server, `sglang_server.py` in front, all of its settings as flags.

Made from SGLang's wheel (`srt/server_args.py`, `srt/entrypoints/http_server.py`) and never run by this project, whose
machines have no GPU: what is said of it is what its source says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from modelkit.engines import contained, pooling, table
from modelkit.engines.contained import ours, said
from modelkit.engines.container import Container
from modelkit.engines.flags import presume_flags
from modelkit.engines.flags import table as flag_table
from modelkit.engines.launch import Launch
from modelkit.engines.reserved import RESERVED
from modelkit.engines.sglang_settings import DRAFTED, SETTINGS, speculation
from modelkit.engines.vllm_adapters import lora_mounts
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.planning.plan import Lowered, Origin, Plan

__all__ = ["OURS", "SETTINGS", "container", "explain_exit", "launch", "lower", "presume_machine", "words"]

PROGRAM = "sglang_server.py"
MOST_STOPS = 32
MOST_ADAPTERS_AT_ONCE = 8

OURS = RESERVED["sglang"]
"""Flags that a Modelfile may not set: they say where the engine listens, what a request means, or what code it runs."""


def lower(plan: Plan) -> tuple[Lowered, ...]:
    """What each setting of the plan becomes on SGLang."""
    return table.lower(SETTINGS, plan)


def presume_machine(plan: Plan) -> None:
    """SGLang computes on the machines of its platform, of which nothing is known here."""


def launch(plan: Plan) -> Launch:
    """Raises Failure: SGLang is no process of this machine."""
    contained.not_a_process("SGLang")


def container(plan: Plan) -> Container:
    """SGLang in its image. Raises Failure for what it does not have and for weights that nobody makes there."""
    assert plan.engine is not None, "a plan with needs has no container"
    known = flag_table("sglang", plan.engine.version)
    contained.presume_known(plan, "SGLang", known.lists if known else {})
    pooling.presume_served(plan, lower(plan))
    presume_flags("sglang", plan.engine.version, plan.flags, OURS)
    if len(plan.profile["stop"]) > MOST_STOPS:
        raise Failure("too-many-stops", f"SGLang takes {MOST_STOPS} stop strings, and the Modelfile has "
                      f"{len(plan.profile['stop'])}", hint="drop the ones that never occur")
    if (unmade := contained.must_be_made(plan)) not in (None, "fp8"):
        contained.refuse_unmade(plan, str(unmade), "take `QUANTIZE fp8`, which SGLang makes while it loads")
    return contained.container(plan, PROGRAM, words(plan))


def words(plan: Plan) -> tuple[Word, ...]:
    """Every flag and environment variable that SGLang gets, each with its origin and reason."""
    return (*_model_words(plan), *_address_words(), *_setting_words(plan), *_adapter_words(plan),
            *contained.author(plan), *contained.variable_words(plan))


def _model_words(plan: Plan) -> Iterator[Word]:
    base = plan.base_origin or Origin(kind="modelfile")
    yield Word("--model-path", contained.model(plan), base, "FROM")
    if plan.source is not None and plan.source.kind == "hub":
        yield Word("--revision", plan.source.revision, Origin(kind="lock"), "a branch of the Hub may move")
    yield ours("--load-format", "safetensors", "`auto` would fall back to pickled weights")


def _address_words() -> Iterator[Word]:
    yield ours("--host", "0.0.0.0", "the platform's own network reaches it", "platform")
    yield ours("--port", str(contained.PORT), "inside the container; the address outside is the platform's", "platform")
    yield ours("--enable-metrics", None, "the platform reads them at /metrics", "platform")
    yield ours("--skip-server-warmup", None, "it would ask for a path that the contract does not let through; /health "
               "generates a token instead")


def _setting_words(plan: Plan) -> Iterator[Word]:
    yield ours("--served-model-name", plan.name, "NAME; another name is a 404", "modelfile")
    yield Word("--context-length", str(plan.context_length), said(plan, "num_ctx"),
               "prompt and answer of one conversation", "num_ctx")
    yield Word("--max-running-requests", str(plan.max_concurrency), said(plan, "serve.max_concurrency"),
               "conversations at once; who comes later waits", "serve.max_concurrency")
    yield ours("--sampling-defaults", "openai", "the model folder's own defaults are not the Modelfile's")
    yield ours("--grammar-backend", "xgrammar", "what the contract's grammars are written for")
    for one in lower(plan):
        if one.target.startswith("--") and one.target not in OURS and one.value is not None:
            value = None if one.value is True else str(one.value)
            yield Word(one.target, value, said(plan, one.setting), one.reason or SETTINGS[one.setting].doc, one.setting)
    if speculation(plan)[0] is not None and plan.setting("draft_num_predict") is None:
        yield ours("--speculative-num-draft-tokens", str(DRAFTED), "the language's default", "default")


def _adapter_words(plan: Plan) -> Iterator[Word]:
    if not plan.adapters:
        return
    origin = said(plan, "adapters")
    where = [mount.path for mount in lora_mounts(plan)]
    paths = tuple(f"{one.name}={path}" for one, path in zip(plan.adapters, where, strict=True))
    yield Word("--enable-lora", None, origin, "the base takes adapters", "adapters")
    yield Word("--lora-paths", paths, origin, "each adapter answers under its own model name", "adapters")
    ranks = [one.rank for one in plan.adapters]
    if all(ranks):
        yield Word("--max-lora-rank", str(max(rank or 0 for rank in ranks)), Origin(kind="model"),
                   "the largest rank among them", "adapters")
    yield Word("--max-loras-per-batch", str(min(len(plan.adapters) + 1, MOST_ADAPTERS_AT_ONCE)), origin,
               "the adapters whose requests are computed together, and the bare base", "adapters")


def explain_exit(tail: Iterable[str]) -> tuple[str, str] | None:
    """What happened, and what to do, from SGLang's last lines; None for words that are in no source that was read."""
    from modelkit.engines.contained_exits import SGLANG, explain

    return explain(SGLANG, tail)

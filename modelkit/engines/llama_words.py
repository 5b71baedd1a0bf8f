"""Every flag that llama-server gets for a plan, each with its origin and reason."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modelkit.engines import llama_adapters, table
from modelkit.engines.launch import RUN
from modelkit.engines.llama_host import attributes
from modelkit.engines.llama_settings import BATCH, SETTINGS, speculation
from modelkit.engines.word import Word
from modelkit.planning.plan import Lowered, Origin, Plan

Words = tuple[str, ...]

_OURS = frozenset((
    "--model", "--alias", "--host", "--port", "--reuse-port", "--path", "--api-prefix", "--api-key", "--api-key-file",
    "--ssl-key-file", "--ssl-cert-file", "--hf-repo", "--hf-file", "--model-url", "--docker-repo", "--models-dir",
    "--models-preset", "--models-max", "--ctx-size", "--parallel", "--kv-unified-per-slot",
    "--lora", "--lora-scaled", "--lora-init-without-apply",
    "--sse-ping-interval", "--server-base", "-hf", "-hfr", "-hff", "-mu", "-dr",
))
"""Flags that say what the plan has already said, or where this engine listens."""

_UNSAFE = frozenset((
    "--ui", "--webui", "--slots", "--props", "--tools", "--agent", "--ui-mcp-proxy", "--webui-mcp-proxy",
    "--media-path", "--mcp-servers-config", "--mcp-servers-json", "--slot-save-path", "--cors-origins",
    "--cors-credentials", "--log-prompts-dir",
))
"""Flags that open more of llama-server than the contract covers."""


OPTIONAL = ("--no-ui", "--no-slots", "--metrics", "--cors-origins", "--no-prefill-assistant", "--sse-ping-interval",
             "--cache-ram", "--offline")
"""Flags that a binary may be too old to know; without them it is less tidy, not less right."""


def words(plan: Plan) -> tuple[Word, ...]:
    """Every flag, the author's last: of a flag that comes twice llama-server takes the last."""
    return (*_address(plan), *_room(plan), *_kept_off(), *_settings(plan), *llama_adapters.lora_words(plan),
            *_author(plan))


def _address(plan: Plan) -> Iterator[Word]:
    path = plan.weights.path if plan.weights is not None else plan.reference  # while it is not here
    yield Word("--model", path, plan.base_origin or Origin(kind="modelfile"),
               "FROM, in the form that llama.cpp loads")
    yield Word("--alias", plan.name, Origin(kind="modelfile"), "NAME; another name is a 404")
    yield _ours("--host", f"{RUN}/llama.sock", "only the contract in front of it listens there")


def _room(plan: Plan) -> Iterator[Word]:
    each, slots = plan.setting("num_ctx"), plan.setting("serve.max_concurrency")
    yield Word("--ctx-size", str(plan.context_length * plan.max_concurrency),
               each.origin if each else Origin(kind="default"),
               f"{plan.context_length} tokens for each of {plan.max_concurrency} conversations", "num_ctx")
    yield Word("--parallel", str(plan.max_concurrency), slots.origin if slots else Origin(kind="default"),
               "conversations at once; who comes later waits", "serve.max_concurrency")
    batch = plan.setting("num_batch")
    for flag in ("--batch-size", "--ubatch-size"):
        yield Word(flag, str(int(batch.value) if batch else BATCH), batch.origin if batch else Origin(kind="engine"),
                   "prompt tokens in one step; whoever is being answered waits for it", "num_batch" if batch else "")


def _kept_off() -> Iterator[Word]:
    yield _ours("--cache-ram", "0", "prompts are kept in their slots; beyond, the default takes up to 8 GiB more")
    yield _ours("--sse-ping-interval", "-1", "comments in a stream that no other engine makes")
    yield _ours("--cors-origins", "localhost", "browsers are the edge's to let in")
    yield _ours("--no-prefill-assistant", None, "an answer begun by the client means the same on every engine")
    yield _ours("--no-ui", None, "nothing that the contract does not cover")
    yield _ours("--no-slots", None, "others' prompts are nobody's business")
    yield _ours("--metrics", None, "the edge reads them")
    yield _ours("--offline", None, "nothing is fetched behind the lock's back")


def _settings(plan: Plan) -> Iterator[Word]:
    for one in table.lower(SETTINGS, plan):
        if not one.target.startswith("--") or one.target in _BY_PLAN or one.value is None or one.value is False:
            continue
        said = plan.setting(one.setting)
        origin, reason = said.origin if said else Origin(kind="default"), one.reason or SETTINGS[one.setting].doc
        if one.target == "--main-gpu":
            yield Word("--split-mode", "none", origin, "one GPU has the whole model", one.setting)
        yield Word(one.target, None if one.value is True else str(one.value), origin, reason, one.setting)
        if one.target == "--cache-type-k":
            yield Word("--cache-type-v", str(one.value), origin, reason, one.setting)
    for flag, value, reason in speculation(plan):
        asked = plan.setting("serve.speculative") or plan.setting("draft")
        yield Word(flag, value, asked.origin if asked else Origin(kind="default"), reason, asked.name if asked else "")


def _author(plan: Plan) -> Iterator[Word]:
    provider, at = plan.engine.provider if plan.engine else "xllamacpp", 0
    for said in author_flags(plan.flags):
        origin = plan.flag_origins[at] if at < len(plan.flag_origins) else Origin(kind="modelfile")
        at += len(said)
        if lowered_flag(said, provider).verdict != "lost":
            yield Word(said[0], None if len(said) == 1 else said[1] if len(said) == 2 else said[1:], origin,
                       "the author's own FLAG, passed as written")


def _ours(flag: str, value: str | None, reason: str) -> Word:
    return Word(flag, value, Origin(kind="engine"), reason)


_BY_PLAN = ("--ctx-size", "--parallel", "--batch-size", "--lora", "--spec-type")
"""Targets of settings that the plan's own fields say."""

_NUMBER = re.compile(r"-\d")


def author_flags(argv: tuple[str, ...]) -> Iterator[Words]:
    """The author's words, one tuple a flag: what begins with a dash and is no number begins a flag."""
    said: list[str] = []
    for word in argv:
        if word.startswith("-") and not _NUMBER.match(word):
            if said:
                yield tuple(said)
            said = []
        said.append(word)
    if said:
        yield tuple(said)


def lowered_flag(said: Words, provider: str) -> Lowered:
    """What one FLAG becomes."""
    flag, value = attributes.canonical(said[0]), " ".join(said[1:]) or None
    reason = ("modelkit says it itself" if flag in _OURS else
              "it would open more than this API" if flag in _UNSAFE else
              attributes.problem(said) if provider == "xllamacpp" else None)
    return Lowered(setting=f"flag {said[0]}", verdict="lost" if reason else "equal", target="" if reason else said[0],
                   value=value, reason=reason or "")

"""Everything that our own llama.cpp engine is told for a plan, each with its origin and reason.

`modelkit explain` shows these words and the engine's configuration is read from them, so that neither can say what the
other doesn't. A word's flag is a field of `modelkit.llamacpp.config.Config`, spelled as a flag.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from modelkit.engines import table
from modelkit.engines.flags import canonical, flags, is_flag, problems, versions
from modelkit.engines.flags import table as flag_table
from modelkit.engines.launch import RUN
from modelkit.engines.llama_cpp_settings import SETTINGS, speculation
from modelkit.engines.llama_rules import drafted
from modelkit.engines.word import Word
from modelkit.failure import Failure
from modelkit.llamacpp.config import Config
from modelkit.planning.plan import Origin, OriginKind, Plan

BY_LANGUAGE = {
    "model": "FROM", "context_length": "PARAMETER num_ctx", "max_concurrency": "SERVE max_concurrency",
    "task": "SERVE task", "pooling": "SERVE pooling", "chat_template": "TEMPLATE", "adapters": "ADAPTER",
    "adapter": "ADAPTER", "draft": "DRAFT",
    "speculative": "SERVE speculative", "draft_tokens": "PARAMETER draft_num_predict",
    "batch_tokens": "PARAMETER num_batch", "prefix_caching": "SERVE prefix_caching", "threads": "PARAMETER num_thread",
    "gpu_layers": "PARAMETER num_gpu", "main_gpu": "PARAMETER main_gpu", "use_mmap": "PARAMETER use_mmap"}
"""Fields that the language has words for, and those words."""

OURS = (*(f"--{name.replace('_', '-')}" for name in BY_LANGUAGE), "--socket", "--profile", "--fingerprint")
"""Flags that a Modelfile may not set."""

_BY_PLAN = ("--context-length", "--max-concurrency", "--adapter", "--draft", "--draft-tokens", "--speculative")
"""Targets of settings that the plan's own fields say."""

_SWITCHES = {"on": True, "off": False, "true": True, "false": False, "auto": None}


def words(plan: Plan) -> tuple[Word, ...]:
    """All of them, the author's last: what comes twice counts as it was said last."""
    return (*_places(plan), *_room(plan), *_settings(plan), *_adapters(plan), *_speculation(plan), *_author(plan),
            *_variables(plan))


def _places(plan: Plan) -> Iterator[Word]:
    path = plan.weights.path if plan.weights is not None else plan.reference  # while it is not here
    yield Word("--model", path, plan.base_origin or Origin(kind="modelfile"), "FROM, in the form that llama.cpp loads")
    yield _of("engine", "--socket", f"{RUN}/engine.sock", "only this user reaches it; the stable address is the edge's")
    yield _of("engine", "--profile", f"{RUN}/profile.json", "what a request means")
    version = plan.engine.version if plan.engine else ""
    yield _of("engine", "--fingerprint", f"llama-cpp-python-{version}", "answers say what computed them")


def _room(plan: Plan) -> Iterator[Word]:
    yield Word("--context-length", str(plan.context_length), _origin(plan, "num_ctx"),
               "tokens of one conversation, prompt and answer", "num_ctx")
    yield Word("--max-concurrency", str(plan.max_concurrency), _origin(plan, "serve.max_concurrency"),
               "conversations at once; who comes later waits", "serve.max_concurrency")


def _settings(plan: Plan) -> Iterator[Word]:
    for one in table.lower(SETTINGS, plan):
        if one.target.startswith("--") and one.target not in _BY_PLAN and one.value is not None:
            yield Word(one.target, str(one.value), _origin(plan, one.setting), one.reason or SETTINGS[one.setting].doc,
                       one.setting)


def _adapters(plan: Plan) -> Iterator[Word]:
    for one in plan.adapters:
        yield Word("--adapter", (one.name, one.path or one.reference), one.origin, f"served as `{one.name}`",
                   "adapters")


def _speculation(plan: Plan) -> Iterator[Word]:
    how, draft = speculation(plan)
    if how == "off":
        return
    asked = "serve.speculative" if plan.setting("serve.speculative") is not None else "draft"
    yield Word("--speculative", how, _origin(plan, asked),
               "a small model guesses; the large one checks each guess" if draft else
               "guesses what followed the same words before; each guess is checked", asked)
    if draft is not None:
        yield Word("--draft", draft, _origin(plan, "draft"), "the model that guesses", "draft")
    yield Word("--draft-tokens", str(drafted(plan)), _origin(plan, "draft_num_predict"), "guessed ahead at most",
               "draft_num_predict")


def _author(plan: Plan) -> Iterator[Word]:
    for index, word in enumerate(plan.flags):
        if not is_flag(word):
            continue
        origin = plan.flag_origins[index] if index < len(plan.flag_origins) else Origin(kind="modelfile")
        flag, equals, value = word.partition("=")
        follows = plan.flags[index + 1:index + 2]
        if not equals and follows and not is_flag(follows[0]):
            value = follows[0]
        name = _own_name(flag)
        if name == "--projector":
            value = str(Path(plan.modelfile).absolute().parent / Path(value).expanduser())
        yield Word(name, value or None, origin, "the author's own FLAG")


def _own_name(flag: str) -> str:
    """A flag by our name for it, whichever of its names was written; as it is where we have none."""
    known = flag_table("llama.cpp", _OWN_VERSION)
    row = known.by_word.get(canonical(flag)) if known else None
    return row.flag if row else flag


_OWN_VERSION = "0"
"""Every version of our own engine has one table of flags: they are modelkit's."""


def _variables(plan: Plan) -> Iterator[Word]:
    if not in_our_python(plan):
        yield _of("engine", "PYTHONPATH", f"{RUN}/python", "where the engine is: modelkit is not installed there")
    yield _of("engine", "PYTHONNOUSERSITE", "1", "packages of a user are not the engine's")
    yield _of("engine", "PYTHONUNBUFFERED", "1", "its last words are not lost")


def in_our_python(plan: Plan) -> bool:
    """Does the engine run where modelkit itself is installed?"""
    return plan.engine is None or plan.engine.command[0] == sys.executable


def presume_known(plan: Plan) -> None:
    """Raise Failure for an author's FLAG that our engine does not have, or that is not the author's to set."""
    for problem in problems("llama.cpp", _OWN_VERSION, plan.flags, OURS):
        name = canonical(problem.word).removeprefix("--").replace("-", "_")
        hint = f"write `{BY_LANGUAGE[name]}`" if name in BY_LANGUAGE else problem.hint
        if hint is None and canonical(problem.word) in flags("llama-server", versions("llama-server")[-1]):
            hint = "llama-server has it: write `ENGINE llama-server`"
        raise Failure(problem.code, problem.message, hint=hint)


def config(words: Iterable[Word]) -> Config:
    """The configuration that the words say. Raises Failure for a value that a field does not take."""
    hints = get_type_hints(Config)
    said: dict[str, Any] = {}
    adapters: list[tuple[str, ...]] = []
    for word in words:
        name = word.flag.removeprefix("--").replace("-", "_")
        if word.is_variable:
            continue
        if isinstance(word.value, tuple):
            adapters.append(word.value)
        elif name in hints:
            said[name] = _read(word, hints[name])
    return Config(**said, adapters=tuple((name, path) for name, path in adapters))


def _read(word: Word, kind: Any) -> Any:
    """A word's value as its field has it."""
    text, kinds = str(word.value) if word.value is not None else "", get_args(kind) or (kind,)
    if bool in kinds and text in _SWITCHES and (_SWITCHES[text] is not None or type(None) in kinds):
        return _SWITCHES[text]
    if int in kinds and text.lstrip("-").isdecimal():
        return int(text)
    if str in kinds or text in kinds:
        return text
    wants = "on, off or auto" if bool in kinds else "a whole number" if int in kinds else " or ".join(map(str, kinds))
    raise Failure("bad-flag-value", f"`{word.flag}` does not take `{text}` ({word.origin})", f"it takes {wants}")


def _origin(plan: Plan, setting: str) -> Origin:
    said = plan.setting(setting)
    return said.origin if said is not None else Origin(kind="default")


def _of(kind: OriginKind, flag: str, value: str | None, reason: str) -> Word:
    return Word(flag, value, Origin(kind=kind), reason)

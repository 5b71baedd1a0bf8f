"""A stage as its engine's own command line, by the same table that modelkit's own launch is made from.

What modelkit's contract does for a request has no flag: the system prompt, few-shot messages, stop strings. Those are
lost, and said; so is everything that the engine's table calls lost.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from modelkit.exchange.losses import Account
from modelkit.exchange.shell import EngineName
from modelkit.exchange.subjects import Exported, Subject
from modelkit.exchange.unsaid import others
from modelkit.failure import Failure
from modelkit.language.engine_words import DEFAULT_ENGINE
from modelkit.planning.plan import Lowered, Plan

Flag = tuple[str, ...]

ENGINES: dict[str, EngineName] = {"vllm": "vllm", "llama.cpp": "llama-server", "llama-server": "llama-server"}
"""The language's engine, and the program whose command line it is."""

_BY_CONTRACT = {
    "system": "a request says it: engines have no default for it",
    "messages": "a request says them: engines have no default for them",
    "stop": "a request says it: engines have no default for it",
}


@dataclass(frozen=True)
class Serving:
    """One engine's command line in parts: the model, its flags, the variable or file that holds the key."""

    engine: EngineName
    model: Flag
    flags: tuple[Flag, ...]
    key: str | None
    address: tuple[str, int]

    @property
    def lines(self) -> list[str]:
        """The command as a shell reads it, a part a line, without address and key."""
        program = "vllm serve " if self.engine == "vllm" else "llama-server "
        return [program + shlex.join(self.model), *(shlex.join(flag) for flag in self.flags)]


def write(subjects: Sequence[Subject]) -> Exported:
    """A shell's command. Raises Failure for a stage whose engine has another command line."""
    (subject,) = subjects
    account = Account()
    line = serving(subject, account)
    others(subject, account)
    host, port = line.address
    key = [] if line.key is None else [f"--api-key {_key(line.key)}"]
    command = " \\\n  ".join((*line.lines, f"--host {host} --port {port}", *key))
    return Exported(f"# {subject.name}, stage {subject.stage}, without modelkit.\n{command}\n", account.graded)


def serving(subject: Subject, account: Account) -> Serving:
    """What the engine of a stage is started with. Raises Failure for an engine without a command line of this kind."""
    from modelkit.exchange import llama_words, vllm_words

    said = subject.said
    name = said.engine.value.name if said.engine is not None else DEFAULT_ENGINE[said.kind]
    if name not in ENGINES:
        raise Failure("other-engine", f"stage `{subject.stage}` of {subject.modelfile.path} runs {name}",
                      hint=f"name a stage on {', '.join(ENGINES)} with `-s`")
    plan = planned(subject, name)
    module = vllm_words if ENGINES[name] == "vllm" else llama_words
    model, flags = module.words(subject, plan, account)
    _outside(subject, account)
    return Serving(ENGINES[name], model, tuple(flags), plan.api_key, (plan.host, plan.port))


def planned(subject: Subject, engine: str) -> Plan:
    """The stage's plan with that engine and nothing else of the world."""
    from modelkit.engines.checking import picked
    from modelkit.models.weights import Weights
    from modelkit.planning.facts import Facts
    from modelkit.planning.plan import Engine, ModelSource
    from modelkit.planning.resolve import resolve

    draft, base = subject.said.draft, subject.base
    hub = ModelSource(kind="hub", name=base.repo, revision=base.revision or "main") if base.kind == "hf" else None
    facts = Facts(
        engines={engine: Engine(name=engine, provider="environment", version=picked(engine, ""), variant="cuda",
                                command=(engine,))},
        reference=base.text, source=hub,
        draft=None if draft is None else Weights(reference=draft.value, form="gguf", path=draft.value, digest="",
                                                 size=0))
    return resolve(subject.modelfile, subject.stage, facts)


def lowered_words(lowered: Iterable[Lowered], account: Account, skipped: Iterable[str] = ()) -> list[Flag]:
    """The flags among settings that an engine's table has lowered; the rest goes into the account."""
    flags: list[Flag] = []
    left = frozenset(skipped)
    for one in lowered:
        said = _said(one)
        if one.setting in left:
            continue
        if one.setting in _BY_CONTRACT:
            account.lost(said, _BY_CONTRACT[one.setting])
        elif one.verdict == "lost":
            account.lost(said, one.reason)
        elif one.target.startswith("--") and one.value is not None and one.value is not False:
            flags.append((one.target,) if one.value is True else (one.target, str(one.value)))
        elif one.target == "weights":
            account.approximated(f"{said} {one.value}", "made beforehand: `modelkit convert --quantize` does it")
        if one.verdict == "approximated" and one.setting not in _BY_CONTRACT:
            account.approximated(said, one.reason)
    return flags


def _said(one: Lowered) -> str:
    keyword = {"system": "SYSTEM", "messages": "MESSAGE", "template": "TEMPLATE", "quantize": "QUANTIZE",
               "draft": "DRAFT", "adapters": "ADAPTER"}.get(one.setting)
    if keyword is not None:
        return keyword
    serve = one.setting.removeprefix("serve.")
    return f"SERVE {serve}" if serve != one.setting else f"PARAMETER {one.setting}"


def _outside(subject: Subject, account: Account) -> None:
    """What the platform, the policies and the gates of a stage are for an engine alone."""
    said = subject.said
    if said.platform is not None and said.platform.value != "process":
        account.lost(f"PLATFORM {said.platform.value}", f"`modelkit build -s {subject.stage} -o DIR` writes its files")
    for policy in said.policies:
        account.lost(f"POLICY {policy.value}", "modelkit keeps it, an engine does not")
    for gate in said.expectations:
        account.lost(f"EXPECT {gate.value.text}", "modelkit measures it, an engine does not")
    for licence in said.licenses[:1]:
        account.lost(f"LICENSE {licence.value[:40]}", "no engine shows it")


def _key(reference: str) -> str:
    """The key of a SERVE api_key, as a shell gets it: never the key itself."""
    kind, _, where = reference.partition(":")
    return f'"${where}"' if kind == "env" and re.fullmatch(r"[A-Za-z_]\w*", where) else f'"$(cat {shlex.quote(where)})"'

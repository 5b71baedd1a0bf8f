"""What a stage says that has no place in the other program's file at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from modelkit.exchange.losses import Account
from modelkit.exchange.quoting import plain
from modelkit.exchange.subjects import Subject


def unsaid(subject: Subject, account: Account, program: str, serve: Mapping[str, str], said_there: Iterable[str] = (),
           ) -> None:
    """Puts it into the account. `serve` has reasons for SERVE keys; those in `said_there` are not lost."""
    said, there = subject.said, frozenset(said_there)
    one_engine = f"{program} has one engine of its own"
    for key, value in said.serve.items():
        if key not in there:
            account.lost(f"SERVE {key} {plain(value.value)}", serve.get(key, f"{program} has no such setting"))
    for flag in said.flags:
        account.lost(" ".join(("FLAG", flag.value.flag, flag.value.value or "")).rstrip(), one_engine)
    if said.engine is not None:
        account.lost(f"ENGINE {said.engine.value.name}", one_engine)
    if said.platform is not None:
        account.lost(f"PLATFORM {said.platform.value}", f"{program} keeps models running itself")
    for policy in said.policies:
        account.lost(f"POLICY {policy.value}", f"{program} has no policies")
    for gate in said.expectations:
        account.lost(f"EXPECT {gate.value.text}", f"{program} has no gates")
    for unset in sorted(said.unset, key=str):
        account.lost(f"UNSET {unset.instruction} {unset.key or ''}".rstrip(), f"in {program} what a base sets cannot "
                     "be unset")
    others(subject, account)


def others(subject: Subject, account: Account) -> None:
    """What a file of one stage cannot say: the other stages, the tests."""
    for name in subject.modelfile.stages:
        if name != subject.stage:
            account.lost(f"STAGE {name}", f"this is one stage, {subject.stage}: `-s {name}` writes the other")
    for test in subject.modelfile.tests:
        account.lost(f"TEST \"{test.title}\"", "tests stay in the Modelfile")

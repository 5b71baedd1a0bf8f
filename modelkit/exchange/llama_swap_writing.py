"""A config of llama-swap, which starts each model's engine when a request names it.

Facts: github.com/mostlygeek/llama-swap, `config.example.yaml` (v240 to v250): `${PORT}` is the port that it chooses,
`ttl` seconds of idleness, `apiKeys` of all models, `${env.NAME}` anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from modelkit.exchange.losses import Account, Loss, graded
from modelkit.exchange.serving import serving
from modelkit.exchange.subjects import Exported, Subject
from modelkit.exchange.unsaid import others
from modelkit.failure import Failure
from modelkit.platforms.yaml import dump


def write(subjects: Sequence[Subject]) -> Exported:
    """An entry for each stage, by its model name. Raises Failure for two of the same name."""
    models: dict[str, Any] = {}
    losses: list[Loss] = []
    keys: dict[str, None] = {}
    for subject in subjects:
        if subject.name in models:
            raise Failure("same-name", f"two models are called `{subject.name}`",
                          hint="NAME tells models apart: clients choose by it")
        account = Account()
        models[subject.name] = _entry(subject, account, keys)
        others(subject, account)
        losses += account.graded
    said: dict[str, Any] = {"apiKeys": [f"${{env.{name}}}" for name in keys]} if keys else {}
    return Exported(dump(said | {"models": models}), graded(losses))


def _entry(subject: Subject, account: Account, keys: dict[str, None]) -> dict[str, Any]:
    line = serving(subject, account)
    parts: list[str] = []
    for part in line.lines:
        if "${" in part or "\n" in part:
            account.lost(part.partition(" ")[0], "llama-swap would take `${…}` for a macro and lines for words")
        else:
            parts.append(part)
    found: dict[str, Any] = {"cmd": "\n".join((*parts, "--port ${PORT}")) + "\n"}
    idle = subject.said.serve.get("keep_alive")
    if idle is not None and float(idle.value) > 0:
        found["ttl"] = max(1, round(float(idle.value)))
        account.known("SERVE keep_alive")
    host, port = line.address
    account.unneeded(f"SERVE host {host}, SERVE port {port}", "llama-swap has one address for all models, `-listen`")
    kind, _, where = (line.key or "").partition(":")
    if kind == "env":
        keys[where] = None
        account.approximated(f"SERVE api_key env:{where}", "llama-swap asks for it whatever the model")
    elif line.key is not None:
        account.lost(f"SERVE api_key {line.key}", "llama-swap reads keys from its config or from the environment")
    return found

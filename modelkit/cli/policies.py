"""A stage held to its POLICY lines: what offends against each, by what is here of it."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.language.modelfile import Modelfile
    from modelkit.planning.plan import Plan


def offences(modelfile: Modelfile, plan: Plan, found: Found) -> dict[str, Failure | None]:
    """Each policy of the stage that can be judged here, and the failure that it is, if one. A policy that is not in
    it cannot be judged by this release."""
    from modelkit.language.layers import effective

    said = [one.value for one in effective(modelfile, plan.stage).policies]
    judges = {"strict": _strict, "safetensors_only": _safetensors, "no_remote_code": _no_code, "locked": _no_code,
              "api_key": _api_key, "tls": _tls}
    return {name: judges[name](plan, found) for name in dict.fromkeys(said) if name in judges}


def presume_policies(modelfile: Modelfile, plan: Plan, found: Found) -> None:
    """Raise the first offence (exit 1)."""
    for failure in offences(modelfile, plan, found).values():
        if failure is not None:
            raise failure


def _no_code(plan: Plan, found: Found) -> Failure | None:
    """A repository's own code is refused in any stage, and a lock is kept wherever a stage is made ready: who comes
    here has passed."""
    return None


def _strict(plan: Plan, found: Found) -> Failure | None:
    lost = [item for item in plan.lowered if item.verdict == "lost"]
    if not lost:
        return None
    return Failure("policy-strict", f"stage `{plan.stage}` would lose {len(lost)} "
                   f"{'setting' if len(lost) == 1 else 'settings'} on {plan.engine_name} (`POLICY strict`)",
                   "take them out of the stage, or run it on an engine that has them",
                   detail=tuple(f"{item.setting}: {item.reason}" for item in lost), exit_code=1)


def _safetensors(plan: Plan, found: Found) -> Failure | None:
    if found.base is not None and found.base.form != "safetensors":
        return Failure("policy-safetensors", f"{found.reference.text} is a GGUF, and stage `{plan.stage}` takes "
                       "safetensors only (`POLICY safetensors_only`)",
                       "name a repository of safetensors in the stage's FROM", exit_code=1)
    unsafe = [one for one in found.adapters if one.own is not None and one.own.form != "safetensors"]
    if not unsafe:
        return None
    return Failure("policy-safetensors", f"{unsafe[0].name} is a GGUF, and stage `{plan.stage}` takes safetensors "
                   "only (`POLICY safetensors_only`)", "name it in PEFT's form", exit_code=1)


def _api_key(plan: Plan, found: Found) -> Failure | None:
    if plan.api_key is not None:
        return None
    return Failure("policy-api-key", f"clients of stage `{plan.stage}` need no key (`POLICY api_key`)",
                   "write `SERVE api_key env:NAME`, and set that variable", exit_code=1)


def _tls(plan: Plan, found: Found) -> Failure | None:
    """modelkit's address speaks HTTP. On loopback only this machine's programs reach it: a proxy that has TLS."""
    if plan.platform in ("process", "systemd") and _is_loopback(plan.host):
        return None
    return Failure("policy-tls", f"stage `{plan.stage}` would be served without TLS at {plan.host} (`POLICY tls`)",
                   "leave `SERVE host` at 127.0.0.1 and put a proxy with TLS before it", exit_code=1)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"

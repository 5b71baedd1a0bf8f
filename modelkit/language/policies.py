"""`POLICY` names: rules that a stage turns into errors."""

from __future__ import annotations

from typing import NamedTuple


class Policy(NamedTuple):
    """One rule of a stage."""

    name: str
    doc: str
    effective: bool = False


POLICIES: dict[str, Policy] = {row.name: row for row in (
    Policy("locked", "Everything that the stage runs is pinned by digest in the lock.", effective=True),
    Policy("strict", "No setting may be lost on the stage's engine.", effective=True),
    Policy("safetensors_only", "The base comes as safetensors, not as GGUF. Pickles are refused in any stage.",
           effective=True),
    Policy("no_remote_code", "The model's repository may not bring code of its own. That is refused in any stage.",
           effective=True),
    Policy("signed", "Weights carry a signature that verifies."),
    Policy("licence", "The model's licence is known and allowed."),
    Policy("api_key", "Clients must send a key.", effective=True),
    Policy("tls", "Clients are served over TLS only: the address itself speaks HTTP, so it stays on loopback, behind a "
           "proxy.", effective=True),
)}

"""What one stage will run: nothing left open, every value with its origin."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

OriginKind = Literal["default", "modelfile", "stage", "command line", "environment", "model", "hardware", "engine"]
Verdict = Literal["equal", "translated", "approximated", "lost"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Origin(Frozen):
    """Where a value comes from; `where` is `file:line` for what the author wrote."""

    kind: OriginKind
    where: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.where}" if self.where else self.kind


class Setting(Frozen):
    """One effective value of the language (`temperature`, `serve.port`, `num_ctx`, `system` …)."""

    name: str
    value: Any
    origin: Origin


class Engine(Frozen):
    """What computes: `name` is the language's word, `provider` what was found for it.

    `llama.cpp`: provider `llama-server` (`command` is its path) or `xllamacpp` (`command` is a Python).
    `vllm`: provider `environment` (`command` is that environment's `vllm`).
    """

    name: str
    provider: str
    version: str
    command: tuple[str, ...]
    variant: str = ""  # "cpu" or "cuda" where the engine comes in variants


class Weights(Frozen):
    """A model on this machine, by digest.

    `path` is a GGUF file or a Hugging Face folder; `digest` is `sha256:…` of the file, or of the folder's manifest.
    `recipe` says how a derived form was made (input digests, tool, version, arguments), None for an original.
    """

    reference: str
    form: Literal["gguf", "safetensors"]
    path: str
    digest: str
    size: int
    recipe: dict[str, Any] | None = None


class Lowered(Frozen):
    """What one setting became on the engine, and how faithfully."""

    setting: str
    verdict: Verdict
    target: str  # the flag or request field, "" when lost
    value: Any = None
    reason: str = ""


class Need(Frozen):
    """Something `up` will do, or that a person must do, before the stage can run."""

    code: str  # "download", "convert", "engine"
    message: str
    automatic: bool  # `up` does it by itself


class Plan(Frozen):
    """One stage, resolved. Same inputs give the same plan, byte for byte."""

    schema_: Literal["modelkit.plan/1"] = "modelkit.plan/1"
    name: str
    modelfile: str
    stage: str
    platform: str
    engine: Engine | None  # None while no engine is installed: see needs
    engine_name: str
    reference: str
    weights: Weights | None  # None while it is not on this machine: see needs
    context_length: int  # tokens, prompt and answer together, for one conversation
    max_concurrency: int  # conversations at once
    profile: dict[str, Any]  # the contract's profile, as `contract.profile.Profile.as_json()`
    settings: tuple[Setting, ...]
    lowered: tuple[Lowered, ...] = ()
    flags: tuple[str, ...] = ()  # the author's own FLAGs, as argv words
    chat_template: str | None = None  # the Modelfile's Jinja text; None: the model's own
    host: str = "127.0.0.1"
    port: int = 8484
    api_key: str | None = None  # a reference (`env:NAME`, `file:path`), never a key
    needs: tuple[Need, ...] = ()

    def setting(self, name: str) -> Setting | None:
        return next((s for s in self.settings if s.name == name), None)


def canonical_json(value: Any) -> bytes:
    """One spelling of a JSON value: sorted keys, no spaces, UTF-8. Digests are taken over this."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """`sha256:…` over the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()

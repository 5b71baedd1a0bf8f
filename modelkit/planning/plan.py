"""What one stage will run: nothing left open, every value with its origin."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelkit.models.digests import canonical_json, digest
from modelkit.models.weights import Weights

OriginKind = Literal["default", "modelfile", "stage", "command line", "environment", "model", "hardware", "engine",
                     "lock", "family", "platform"]
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

    `llama.cpp`: provider `llama-cpp-python` (`command` is a Python that has it: modelkit's own engine runs there),
    `llama-server` (`command` is its path) or `xllamacpp` (`command` is a Python).
    `vllm`: provider `environment` (`command` is that environment's `vllm`).
    On platforms of containers: provider `image`, no command; `Plan.image` says which.
    """

    name: str
    provider: str
    version: str
    command: tuple[str, ...]
    variant: str = ""  # "cpu", "cuda" … where the engine comes in variants


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


class ModelSource(Frozen):
    """Where a container gets a model from.

    `hub`: `name` is `organization/repository`, fetched by the engine itself. `oci`: `name` is
    `host/namespace/name@sha256:…`, mounted by the platform. `folder`: `name` is a path of this machine, mounted.
    """

    kind: Literal["hub", "oci", "folder"]
    name: str
    revision: str = ""  # 40 hexadecimal digits, of `hub`


class ServedAdapter(Frozen):
    """A LoRA adapter. `name` is the model name that chooses it; the plan's own name where it is part of the model."""

    name: str
    reference: str
    origin: Origin
    form: Literal["", "gguf", "safetensors"] = ""  # that its source has it in; "" while it is not on this machine
    path: str | None = None  # in the form that the engine loads; None while it is not on this machine
    digest: str = ""  # of that form
    size: int = 0
    rank: int | None = None
    source: ModelSource | None = None


class Shape(Frozen):
    """What deployment wants to know about a model. None where its files do not say it."""

    architecture: str = ""  # config.json's `model_type`, or a GGUF's word
    layers: int | None = None
    attention_heads: int | None = None
    kv_heads: int | None = None
    precision: str = ""  # of the base itself: `bfloat16`, `Q4_K_M`, or what it was quantized with (`awq`, `fp8` …)


class Plan(Frozen):
    """One stage, resolved. Same inputs give the same plan, byte for byte."""

    schema_: Literal["modelkit.plan/1"] = "modelkit.plan/1"
    name: str
    modelfile: str
    stage: str
    kind: str = ""  # the stage of the language that it is, or extends: `experiment`, `dev` or `prod`
    platform: str
    engine: Engine | None  # None while no engine is installed: see needs
    engine_name: str
    reference: str
    weights: Weights | None  # None while it is not on this machine: see needs
    context_length: int  # tokens, prompt and answer together, for one conversation
    max_concurrency: int  # conversations at once
    kv_bytes_per_token: int | None = None  # of the attention cache at 16 bits; None where the model's shape is unknown
    cpus: int = 1  # cores of this machine
    cpu_flags: tuple[str, ...] = ()  # its vector units, as Linux names them; empty where that is not known
    memory: int | None = None  # bytes that its processes may have; None where that is not known
    profile: dict[str, Any]  # the contract's profile, as `contract.profile.Profile.as_json()`
    settings: tuple[Setting, ...]
    lowered: tuple[Lowered, ...] = ()
    flags: tuple[str, ...] = ()  # the author's own FLAGs, as argv words
    flag_origins: tuple[Origin, ...] = ()  # of each of those words
    base_origin: Origin | None = None  # where FROM stands
    shape: Shape = Shape()
    thinking_problem: str = ""  # what of `SERVE thinking` the model can't have
    accelerator: str | None = None  # the GPU by its name in `planning.accelerators`; None where it is not known
    chat_template: str | None = None  # the Modelfile's Jinja text; None: the model's own
    template_digest: str | None = None  # of the one that is used, as `contract.effective` computes it
    source: ModelSource | None = None  # for containers; None where the engine is a process of this machine
    image: str | None = None  # `repository@sha256:…`, or a tag while nobody has resolved it
    images: dict[str, str] = {}  # others that the platform needs: a tag of its own, and what it is now by digest
    adapters: tuple[ServedAdapter, ...] = ()
    draft: Weights | None = None  # a small model for speculative decoding, in the form that the engine loads
    projector: Weights | None = None  # what lets the model see, where the engine takes such
    host: str = "127.0.0.1"
    port: int = 8484
    api_key: str | None = None  # a reference (`env:NAME`, `file:path`), never a key
    arguments: dict[str, str] = {}  # what ARGs were given on the command line
    needs: tuple[Need, ...] = ()

    @property
    def task(self) -> str:
        """What the model is served for: `chat`, `embed` or `rerank`."""
        return str(self.profile.get("task", "chat"))

    def setting(self, name: str) -> Setting | None:
        return next((s for s in self.settings if s.name == name), None)


__all__ = ["Engine", "Frozen", "Lowered", "ModelSource", "Need", "Origin", "OriginKind", "Plan", "ServedAdapter",
           "Setting", "Shape", "Verdict", "Weights", "canonical_json", "digest"]

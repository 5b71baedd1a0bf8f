"""Which model a stage asks for, in which form and precision. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelkit.failure import Failure
from modelkit.language.engine_words import DEFAULT_ENGINE, DEFAULT_PLATFORM
from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.language.quantization import AUTO
from modelkit.models.lock import LockedRung
from modelkit.planning.fit.ladder import Wish

FORM_OF_ENGINE: dict[str, Literal["gguf", "safetensors"]] = {
    "llama.cpp": "gguf", "llama-server": "gguf", "vllm": "safetensors", "sglang": "safetensors",
    "tensorrt-llm": "safetensors"}
"""What an engine loads, by the language's word for it."""

OWN = "llama-cpp-python"
"""The provider of `llama.cpp` that runs modelkit's own engine; every other one speaks llama-server's protocol."""


def dialect(engine_name: str, provider: str = OWN) -> str:
    """Whose request fields the contract writes, see `contract.dialect`. `provider` says who computes for llama.cpp."""
    if FORM_OF_ENGINE[engine_name] != "gguf":
        return engine_name
    return "llamacpp" if engine_name == "llama.cpp" and provider == OWN else "llama-server"


@dataclass(frozen=True)
class Wanted:
    """What a stage asks for: FROM's text, the engine and what it loads, QUANTIZE's word and its importance matrix.

    Where QUANTIZE is `auto`, `auto` says what it asks for, and `precision` is the word that was chosen: `auto` itself
    while nobody has.
    """

    base: str
    engine: str
    specifier: str
    form: Literal["gguf", "safetensors"]
    precision: str | None
    imatrix: Path | None
    platform: str = DEFAULT_PLATFORM
    image: str | None = None  # SERVE image
    accelerator: str | None = None  # SERVE accelerator
    auto: Wish | None = None
    rung: LockedRung | None = None  # what was chosen, and for which hardware

    @property
    def requires(self) -> str:
        return f"{self.engine} {self.specifier}".strip()

    @property
    def quantize(self) -> str:
        """As the Modelfile says it."""
        return str(self.auto) if self.auto is not None else self.precision or "none"

    @property
    def open(self) -> bool:
        """Is there a precision to choose still?"""
        return self.precision == AUTO


def wanted(modelfile: Modelfile, stage: str) -> Wanted:
    """Raises Failure for a stage that is not in the file and for an engine that this release can't run."""
    try:
        said, kind = effective(modelfile, stage), modelfile.kind(stage)
    except KeyError:
        known = ", ".join(dict.fromkeys(("experiment", "dev", "prod", *modelfile.stages)))
        raise Failure("unknown-stage", f"no stage is called `{stage}` in {modelfile.path}",
                      hint=f"its stages are {known}") from None
    engine = said.engine.value.name if said.engine else DEFAULT_ENGINE[kind]
    if engine not in FORM_OF_ENGINE:
        raise Failure("engine-not-yet", f"stage `{stage}` asks for engine {engine}, which this release cannot run",
                      hint=f"it can run {', '.join(FORM_OF_ENGINE)}")
    assert said.base is not None  # checked: missing-from
    quantize = said.quantize.value if said.quantize else None
    folder = Path(modelfile.path).absolute().parent
    serve = {key: str(one.value) for key, one in said.serve.items()}
    return Wanted(said.base.value, engine, said.engine.value.version if said.engine else "", FORM_OF_ENGINE[engine],
                  None if quantize is None else quantize.name,
                  folder / Path(quantize.imatrix).expanduser() if quantize and quantize.imatrix else None,
                  said.platform.value if said.platform else DEFAULT_PLATFORM, serve.get("image"),
                  serve.get("accelerator"), None if quantize is None or quantize.name != AUTO else Wish(
                      quantize.at_least, quantize.tokens_per_second, quantize.imatrix is not None))

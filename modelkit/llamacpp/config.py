"""What the engine's process is told: one JSON file, written by `modelkit.engines.llama_cpp.launch`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

SCHEMA = "modelkit.llamacpp/1"

KNOWN = ((0, 3, 36), (0, 3, 37))
"""llama-cpp-python from the first (included) to the second: the versions whose structs `library` was written for."""

Task = Literal["chat", "embed", "rerank"]
Pooling = Literal["auto", "mean", "cls", "last"]
Speculative = Literal["off", "ngram", "draft_model"]


@dataclass(frozen=True)
class Config:
    """Everything but the meaning of requests, which is the contract's profile.

    `context_length` is of one conversation, prompt and answer; `max_concurrency` conversations are computed at once
    and share `kv_tokens` cells of the attention cache. 0 threads means the physical cores that the process may use.
    """

    model: str  # path of the GGUF file
    socket: str  # where we listen
    profile: str  # path of the contract's profile
    fingerprint: str  # what answers carry as `system_fingerprint`
    context_length: int  # tokens
    max_concurrency: int
    task: Task = "chat"
    pooling: Pooling = "auto"  # what of a text's vectors is its embedding; auto: as the model's file says
    kv_tokens: int = 0  # 0: context_length * max_concurrency, so that nobody can lack room
    chat_template: str | None = None  # path of the Modelfile's Jinja text; None: the model's own
    adapters: tuple[tuple[str, str], ...] = ()  # (model name, path of the GGUF file), the profile's order
    projector: str | None = None  # path of the GGUF file that lets the model see
    draft: str | None = None  # path of a small GGUF that guesses ahead
    speculative: Speculative = "off"
    draft_tokens: int = 4  # guessed ahead at most
    batch_tokens: int = 512  # prompt tokens in a step while nobody is being answered
    busy_batch_tokens: int = 0  # and while somebody is; 0: the engine's own measure
    prefix_caching: bool = True
    threads: int = 0
    threads_batch: int = 0  # 0: as `threads`
    gpu_layers: int = -1  # -1: all
    main_gpu: int | None = None  # the one GPU to use; None: all that there are
    use_mmap: bool = True
    kv_cache: str = "f16"  # f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl, keys and values alike
    flash_attention: bool | None = None  # None: llama.cpp decides

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def read(cls, path: Path) -> Config:
        """Raises OSError, or ValueError for a file that is not ours."""
        value = json.loads(path.read_text("utf-8"))
        if not isinstance(value, dict) or value.pop("schema", None) != SCHEMA:
            raise ValueError(f"{path} is not a {SCHEMA} document")
        try:
            return cls(**value | {"adapters": tuple((str(name), str(at)) for name, at in value.get("adapters", ()))})
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None

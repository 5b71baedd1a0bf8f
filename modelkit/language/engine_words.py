"""The words for what computes and for what keeps it running."""

from __future__ import annotations

from typing import NamedTuple


class Choosable(NamedTuple):
    """An engine or a platform that a Modelfile may name."""

    name: str
    doc: str
    effective: bool = True
    experiments_only: bool = False


ENGINES: dict[str, Choosable] = {row.name: row for row in (
    Choosable("llama.cpp", "llama.cpp from a GGUF file: modelkit's own engine on llama-cpp-python, else llama-server."),
    Choosable("llama-server", "llama-server's protocol: the one on the PATH, else the one in the xllamacpp wheel."),
    Choosable("vllm", "vLLM from safetensors, in an environment of its own."),
    Choosable("tensorrt-llm", "NVIDIA TensorRT-LLM, in its container image."),
    Choosable("sglang", "SGLang, in its container image."),
)}

PLATFORMS: dict[str, Choosable] = {row.name: row for row in (
    Choosable("process", "A process of this machine, watched by modelkit."),
    Choosable("compose", "Docker Compose on one machine."),
    Choosable("quadlet", "Podman containers as systemd units."),
    Choosable("systemd", "A systemd unit that runs modelkit."),
    Choosable("kubernetes", "Plain Kubernetes objects."),
    Choosable("kserve", "KServe's inference services."),
    Choosable("production-stack", "vLLM's production stack."),
    Choosable("llm-d", "llm-d: Kubernetes pods behind an InferencePool."),
    Choosable("ray", "Ray Serve."),
    Choosable("skypilot", "SkyPilot."),
    Choosable("ollama", "An Ollama server.", effective=False, experiments_only=True),
    Choosable("lmstudio", "LM Studio.", effective=False, experiments_only=True),
    Choosable("jan", "Jan.", effective=False, experiments_only=True),
)}

ENGINE_SYNONYMS = {"llamacpp": "llama.cpp", "llama_cpp": "llama.cpp", "llama-cpp": "llama.cpp", "llama": "llama.cpp",
                   "trtllm": "tensorrt-llm", "trt-llm": "tensorrt-llm", "tensorrt": "tensorrt-llm",
                   "llamaserver": "llama-server"}
PLATFORM_SYNONYMS = {"k8s": "kubernetes", "docker": "compose", "docker-compose": "compose", "podman": "quadlet",
                     "local": "process", "lm-studio": "lmstudio"}

DEFAULT_ENGINE = {"experiment": "llama.cpp", "dev": "llama.cpp", "prod": "vllm"}
"""The engine of each known stage when the file names none."""

DEFAULT_PLATFORM = "process"

"""Flags that a Modelfile may not set: they say where the engine listens, what a request means, or what code it runs.

Apart from the engines' own files, so that `check` can read it without loading them.
"""

from __future__ import annotations

from collections.abc import Mapping

RESERVED: Mapping[str, tuple[str, ...]] = {
    "vllm": (
        "--api-key", "--config", "--generation-config", "--grpc", "--headless", "--host", "--lora-modules",
        "--max-model-len", "--max-num-seqs", "--middleware", "--model", "--port", "--root-path",
        "--served-model-name", "--ssl-certfile", "--ssl-keyfile", "--trust-remote-code",
        "--trust-request-chat-template", "--uds",
    ),
    "sglang": (
        "--admin-api-key", "--api-key", "--config", "--context-length", "--enable-metrics", "--encoder-only",
        "--enable-lora", "--grpc-mode", "--grpc-port", "--host", "--load-format", "--lora-paths",
        "--max-running-requests", "--model", "--model-path", "--port", "--revision", "--sampling-defaults",
        "--served-model-name", "--smg-grpc-mode", "--ssl-certfile", "--ssl-keyfile", "--tokenizer-worker-num",
        "--trust-remote-code", "--trust-request-chat-template", "--use-ray",
    ),
    "tensorrt-llm": (
        "--backend", "--config", "--extra-llm-api-options", "--free-gpu-memory-fraction", "--generation-config",
        "--grpc", "--host", "--kv-cache-free-gpu-memory-fraction", "--max-batch-size", "--max-seq-len",
        "--middleware", "--num-serve-frontends", "--pipeline-parallel-size", "--port", "--pp-size",
        "--reasoning-parser", "--revision", "--served-model-name", "--server-role", "--tensor-parallel-size",
        "--tp-size", "--trust-remote-code",
    ),
}
"""By the language's word for an engine. Of TensorRT-LLM dashes stand for underscores."""

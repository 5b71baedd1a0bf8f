"""The names that Ollama's RENDERER and PARSER know, as of Ollama 0.33 (2026-08)."""

from __future__ import annotations

_RENDERERS = """
cogito cohere deepseek3.1 functiongemma gemma4 gemma4-large gemma4-small glimmer glm-4.7 glm-ocr laguna lfm2
lfm2-thinking nemotron-3-nano nemotron-3.5-nano olmo3 olmo3-32b-think olmo3-think olmo3.1 ornith poolside-v1 qwen3-coder
qwen3-vl-instruct qwen3-vl-thinking qwen3.5 qwen3.8
"""

_PARSERS = """
cogito cohere deepseek3 functiongemma gemma4 gemma4-no-thinking glimmer glm-4.7 glm-ocr harmony laguna lfm2
lfm2-thinking ministral nemotron-3-nano nemotron-3.5-nano olmo3 olmo3-think ornith passthrough poolside-v1 qwen3
qwen3-coder qwen3-thinking qwen3-vl-instruct qwen3-vl-thinking qwen3.5
"""

RENDERERS, PARSERS = frozenset(_RENDERERS.split()), frozenset(_PARSERS.split())

RELEASE = "0.33"

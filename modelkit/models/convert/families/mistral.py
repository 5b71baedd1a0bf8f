"""Mistral's newer models, which llama.cpp calls `mistral3`: Mistral Small 3.1 and Ministral 3.

Facts from llama.cpp's conversion/mistral3.py and src/models/mistral3.cpp. The older ones are `llama` there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from modelkit.models.convert.families.family import Dimensions, Family
from modelkit.models.convert.families.header import not_yet, number
from modelkit.models.convert.families.llama import INTERLEAVED_BLOCK
from modelkit.models.convert.families.rope import FREQUENCIES, rope_scaling
from modelkit.models.formats.gguf import Header

_BLOCK = tuple(replace(row, bias="none") for row in INTERLEAVED_BLOCK)


def _settings(header: Header, shape: Dimensions) -> dict[str, Any]:
    """Ministral's queries grow with their position; without that it is the Mistral that Hugging Face always had."""
    temperature = number(header, "attention.temperature_scale", 0.0)
    magnitude = number(header, "rope.scaling.yarn_log_multiplier", 0.0)
    scaling = rope_scaling(header, shape, slopes=True) or {"rope_type": "default"}
    theta = {"rope_theta": number(header, "rope.freq_base", 10000.0)}
    if not temperature and not magnitude:
        return {"sliding_window": None, "rope_parameters": scaling | theta}
    if scaling["rope_type"] != "yarn" or not temperature:
        raise not_yet(header, "the temperature or the magnitude of YaRN without YaRN itself")
    if magnitude:
        scaling |= {"mscale": 1.0, "mscale_all_dim": magnitude}
    trained = scaling["original_max_position_embeddings"]
    return {"architectures": ["Ministral3ForCausalLM"], "model_type": "ministral3", "sliding_window": None,
            "rope_parameters": scaling | theta | {"llama_4_scaling_beta": temperature},
            # vLLM's name for the same
            "llama_4_scaling": {"original_max_position_embeddings": trained, "beta": temperature}}


MISTRAL3 = Family("mistral3", "MistralForCausalLM", "mistral", _BLOCK, _settings, unused=frozenset({FREQUENCIES}),
                  reads=frozenset({"attention.temperature_scale", "rope.scaling.yarn_log_multiplier"}))

"""The numbers of a `config.json`, under whatever name each family has for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelkit.failure import Failure
from modelkit.models.anatomy.config_defaults import DEFAULTS
from modelkit.models.anatomy.said import MOST_HEADS, MOST_LAYERS, MOST_WIDTH

_NESTED = ("text_config", "llm_config", "language_config", "thinker_config", "decoder")
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts")
_EXPERTS_USED = ("num_experts_per_tok", "num_experts_per_token", "experts_per_token", "moe_k", "moe_top_k", "top_k")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv", "multi_query_group_num", "kv_n_heads")
_WIDTH = ("hidden_size", "n_embd", "d_model", "dim", "model_dim")


class Config:
    """A config.json, its language model's part first where it has several."""

    def __init__(self, name: str, said: Any) -> None:
        self.name = name
        if not isinstance(said, dict) or not said:
            raise Failure("config-invalid", f"{name} has no config.json that says what the model is",
                          "name the folder that has one", data={"path": name, "check": "config"})
        self.whole: Mapping[str, Any] = said
        core = _core(said)
        self.core: Mapping[str, Any] = {**DEFAULTS.get(str(core.get("model_type") or ""), {}), **core}

    @property
    def model_type(self) -> str:
        return str(self.core.get("model_type") or self.whole.get("model_type") or "")

    @property
    def quantization(self) -> Mapping[str, Any]:
        for place in (self.whole, self.core):
            for key in ("quantization_config", "compression_config"):
                if isinstance(said := place.get(key), dict):
                    return said
        return {}

    @property
    def dtype(self) -> str:
        for place in (self.core, self.whole):
            for key in ("dtype", "torch_dtype"):
                if isinstance(said := place.get(key), str):
                    return said
        return ""

    @property
    def layers(self) -> int:
        count = self.number(*_LAYERS, most=MOST_LAYERS)
        if count < 1:
            raise self.refusal(_LAYERS[0], "is missing or 0")
        return count

    @property
    def width(self) -> int:
        return self.number(*_WIDTH)

    @property
    def heads(self) -> int:
        return self.number(*_HEADS, most=MOST_HEADS)

    @property
    def kv_heads(self) -> int:
        return self.number(*_KV_HEADS, most=MOST_HEADS)

    def experts(self, most: int) -> int:
        return self.number(*_EXPERTS, most=most) or self.nested("ffn_config").number("moe_num_experts", most=most)

    def experts_used(self, most: int) -> int:
        return self.number(*_EXPERTS_USED, most=most) or self.nested("ffn_config").number("moe_top_k", most=most)

    def nested(self, key: str) -> Config:
        """An object inside of it; an empty one where there is none."""
        return self._inner(self.core.get(key))

    def objects(self, key: str) -> list[Config]:
        """A list of objects, empty where there is none."""
        value = self.core.get(key)
        return [self._inner(one) for one in value[:MOST_LAYERS]] if isinstance(value, list) else []

    def _inner(self, said: Any) -> Config:
        inner = object.__new__(Config)
        inner.name, inner.whole, inner.core = self.name, {}, said if isinstance(said, dict) else {}
        return inner

    def has(self, key: str) -> bool:
        return self.core.get(key) is not None

    def number(self, *keys: str, default: int = 0, most: int = MOST_WIDTH) -> int:
        """The first of these that it says; null and words (`auto`) are as if it were not said.

        Of a list, one number a layer, the largest.
        """
        for key in keys:
            value = self.core.get(key)
            if isinstance(value, list) and value:
                return max(self._checked(key, one, most) for one in value[:MOST_LAYERS])
            if value is not None and not isinstance(value, str):
                return self._checked(key, value, most)
        return default

    def flag(self, key: str, default: bool) -> bool:
        for place in (self.core, self.whole):
            if isinstance(value := place.get(key), bool):
                return value
        return default

    def text(self, key: str) -> str:
        """A word, "" where there is none."""
        return value if isinstance(value := self.core.get(key), str) else ""

    def texts(self, key: str) -> list[str]:
        """A list of words, or of the letters of a text; empty where there is none."""
        value = self.core.get(key)
        if isinstance(value, str):
            return list(value[:MOST_LAYERS])
        return [str(one) for one in value[:MOST_LAYERS]] if isinstance(value, list) else []

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers, empty where there is none."""
        value = self.core.get(key)
        if not isinstance(value, list):
            return []
        return [self._checked(key, 0 if one is None else one, MOST_WIDTH) for one in value[:MOST_LAYERS]]

    def each(self, key: str, layers: int) -> list[int]:
        """A number for each layer."""
        found = self.numbers(key)
        if len(found) < layers:
            raise self.refusal(key, f"has {len(found):,} numbers for {layers:,} layers")
        return found[:layers]

    def refusal(self, key: str, what: str) -> Failure:
        return Failure("config-invalid", f"config.json of {self.name} can't be used: `{key}` {what}",
                       "download the model again; if that does not help, its maker has to repair it",
                       data={"path": self.name, "check": "hyperparameter", "key": key})

    def _checked(self, key: str, value: Any, most: int) -> int:
        whole = isinstance(value, int | float) and abs(value) < 1 << 64 and value == int(value)
        if not whole:
            raise self.refusal(key, f"is {str(value)[:40]}, not a whole number")
        if not 0 <= value <= most:
            raise self.refusal(key, f"is {value:,}; 0 to {most:,} are possible")
        return int(value)


def _core(said: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in _NESTED:
        if isinstance(inner := said.get(key), dict) and inner:
            return _core(inner) if key == "thinker_config" else inner
    return said

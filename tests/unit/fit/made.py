"""Models that are made up, and GPUs, for sums that can be done by hand."""

from __future__ import annotations

from collections.abc import Iterator

from modelkit.models.anatomy import Anatomy, Layer, Weight
from modelkit.planning.fit.hardware import Device, Hardware, Link

GiB = 1024**3


def llama(*, layers: int = 32, width: int = 4096, feed_forward: int = 14336, heads: int = 32, kv_heads: int = 8,
          head: int = 128, words: int = 128256, tied: bool = False, bits: float = 16, type_: str = "BF16",
          quantization: str = "bfloat16", context: int = 131072) -> Anatomy:
    """A dense model as safetensors have it; Llama-3.1-8B where nothing is said. `bits` are of the layers' matrices."""
    def each() -> Iterator[Weight]:
        yield Weight("model.embed_tokens.weight", "embedding", None, (words, width), "BF16", words * width * 2)
        if not tied:
            yield Weight("lm_head.weight", "output", None, (words, width), "BF16", words * width * 2)
        yield Weight("model.norm.weight", "norm", None, (width,), "BF16", width * 2)
        for layer in range(layers):
            at = f"model.layers.{layer}"
            for name, shape in (("q_proj", (heads * head, width)), ("k_proj", (kv_heads * head, width)),
                                ("v_proj", (kv_heads * head, width)), ("o_proj", (width, heads * head))):
                yield Weight(f"{at}.self_attn.{name}.weight", "attention", layer, shape, type_,
                             int(shape[0] * shape[1] * bits / 8))
            for name in ("gate_proj", "up_proj", "down_proj"):
                yield Weight(f"{at}.mlp.{name}.weight", "mlp", layer, (feed_forward, width), type_,
                             int(feed_forward * width * bits / 8))
            for name in ("input_layernorm", "post_attention_layernorm"):
                yield Weight(f"{at}.{name}.weight", "norm", layer, (width,), "BF16", width * 2)
    one = Layer("full", heads, kv_heads, kv_heads * head, kv_heads * head)
    return Anatomy("llama", "safetensors", quantization, tuple(each()), (one,) * layers, words, width, feed_forward,
                   heads, context, tied)


def smollm2() -> Anatomy:
    """SmolLM2-135M."""
    return llama(layers=30, width=576, feed_forward=1536, heads=9, kv_heads=3, head=64, words=49152, tied=True,
                 context=8192)


def gpus(number: int = 1, memory: float = 23.52, name: str = "RTX 4090", capability: int = 89,
         link: Link = "pcie") -> Hardware:
    """As many alike, of so many GiB."""
    return Hardware(name, tuple(Device(name, "cuda", int(memory * GiB), capability=capability, link=link)
                                for _ in range(number)))

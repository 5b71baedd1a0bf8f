"""How much a recurrent layer of a Hugging Face model keeps for one sequence, in float32 as llama.cpp keeps it.

The sums are those of llama-hparams.cpp (`n_embd_r`, `n_embd_s`; llama-cpp-python 0.3.36), over config.json's names.
"""

from __future__ import annotations

from modelkit.models.anatomy.config import Config
from modelkit.models.anatomy.said import MOST_HEADS


def state_of(config: Config) -> tuple[int, int]:
    """Bytes of one sequence in one layer: what its convolution or token shift keeps, and the state itself."""
    rolling, state = _numbers(config)
    return 4 * rolling, 4 * state


def _numbers(config: Config) -> tuple[int, int]:
    number, width = config.number, config.width
    if config.has("linear_num_value_heads"):  # Qwen3-Next: a gated delta net
        keys = number("linear_num_key_heads", most=MOST_HEADS) * number("linear_key_head_dim")
        values = number("linear_num_value_heads", most=MOST_HEADS) * number("linear_value_head_dim")
        kernel = number("linear_conv_kernel_dim", default=4)
        return max(kernel - 1, 0) * (2 * keys + values), number("linear_key_head_dim") * values
    if config.has("linear_attn_config") or config.model_type == "kimi_linear":
        linear = config.nested("linear_attn_config")
        heads = linear.number("num_heads", default=number("linear_num_heads", default=config.heads), most=MOST_HEADS)
        head = linear.number("head_dim", default=number("linear_head_dim", default=128))
        kernel = linear.number("short_conv_kernel_size", default=number("linear_conv_kernel_dim", default=4))
        return 3 * max(kernel - 1, 0) * heads * head, head * head * heads
    if config.has("conv_L_cache"):
        return width * max(number("conv_L_cache") - 1, 0), 0
    if config.model_type.startswith("rwkv"):
        return 2 * width, width * number("head_size", "head_dim", default=64)
    if config.model_type.startswith("minimax"):
        head = number("head_dim", default=width // max(config.heads, 1))
        return 0, head * head * config.heads
    if config.model_type == "recurrent_gemma":
        inner = number("lru_width", default=width)
        return max(number("conv1d_width") - 1, 0) * inner, inner
    return _mamba(config)


def _mamba(config: Config) -> tuple[int, int]:
    number = config.number
    size = number("mamba_d_state", "ssm_state_size", "state_size")
    kernel = number("mamba_d_conv", "conv_kernel", default=4)
    groups = number("mamba_n_groups", "mamba_ngroups", "n_groups")
    inner = _inner(config)
    return max(kernel - 1, 0) * (inner + 2 * groups * size), size * inner


def _inner(config: Config) -> int:
    """The width inside a Mamba layer."""
    number = config.number
    expanded = number("mamba_expand", "expand", default=2) * config.width
    heads = number("mamba_num_heads", most=MOST_HEADS)
    if config.model_type == "nemotron_h" and heads:
        return heads * number("mamba_head_dim")
    if config.model_type == "plamo2" and heads:
        return heads * number("hidden_size_per_head")
    return number("mamba_d_ssm", default=number("d_inner", default=expanded))

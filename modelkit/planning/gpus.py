"""What a stage asks of its GPUs: which ones, and whether the model can be shared between as many. Pure."""

from __future__ import annotations

from modelkit.failure import Failure
from modelkit.planning.accelerators import accelerator, nearest
from modelkit.planning.plan import Setting, Shape


def accelerator_name(asked: Setting | None, here: str | None) -> str | None:
    """The GPU's name in `accelerators`: what `SERVE accelerator` says, else what this machine has.

    None where it is not known, and for `cpu`. Raises Failure `unknown-accelerator` for a name that means nothing.
    """
    if asked is None:
        found = accelerator(here) if here else None
        return found.name if found else None
    word = str(asked.value)
    if word.lower() == "cpu":
        return None
    if (found := accelerator(word)) is None:
        near = nearest(word)
        raise Failure("unknown-accelerator", f"no GPU is called `{word}` ({asked.origin.where or asked.origin})",
                      hint=f"did you mean `{near}`?" if near else "name an NVIDIA GPU (`L4`, `A100-80GB`, `H100`), or "
                      "`cpu`")
    return found.name


def presume_shared(shape: Shape, tensor: Setting | None, pipeline: Setting | None) -> None:
    """Raise Failure where the model's heads or layers can't be shared by as many GPUs as are asked for."""
    if tensor is not None and shape.attention_heads and shape.attention_heads % int(tensor.value):
        fitting = _below(int(tensor.value), shape)
        raise Failure("heads-not-shared", f"the model's {shape.attention_heads} attention heads cannot be shared by "
                      f"{tensor.value} GPUs (`SERVE tensor_parallel` at {tensor.origin.where or tensor.origin})",
                      hint=f"write `SERVE tensor_parallel {fitting}`" if fitting > 1 else
                      "leave it out: one GPU holds the whole model")
    if pipeline is not None and shape.layers and int(pipeline.value) > shape.layers:
        raise Failure("layers-not-shared", f"the model has {shape.layers} layers, too few for {pipeline.value} groups "
                      f"of GPUs (`SERVE pipeline_parallel` at {pipeline.origin.where or pipeline.origin})",
                      hint=f"write `SERVE pipeline_parallel {shape.layers}` or less")


def _below(asked: int, shape: Shape) -> int:
    """The largest number of GPUs, a power of two where one is, that shares the heads and is less than asked for."""
    heads = shape.attention_heads or 1
    fitting = [number for number in range(1, asked) if heads % number == 0]
    powers = [number for number in fitting if number & (number - 1) == 0]
    return powers[-1] if len(powers) > 1 else fitting[-1]

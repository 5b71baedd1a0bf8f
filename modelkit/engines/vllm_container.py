"""vLLM in its own image: the same words, most of them in `vllm.yaml`, the contract beside it."""

from __future__ import annotations

from modelkit.engines.container import CONFIG, MODEL, Container, Mount, SecretVariable
from modelkit.engines.launch import File
from modelkit.engines.vllm_adapters import lora_mounts
from modelkit.engines.vllm_config import config_text
from modelkit.engines.vllm_hardware import on_cpu, quantized_as
from modelkit.engines.vllm_words import (
    DRAIN_SECONDS,
    PORT,
    address_words,
    author_words,
    config_files,
    model_words,
    setting_words,
    variable_words,
)
from modelkit.engines.word import argv, variables
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.plan import Plan

CONFIG_FILE = "vllm.yaml"

_GIB = 1024**3


def container(plan: Plan) -> Container:
    """The plan's engine in its image, which has `vllm serve` as its entry point.

    Raises Failure for weights that would have to be made and can't be where the container runs.
    """
    assert plan.image is not None and plan.source is not None, "a plan with needs has no container"
    presume_precision(plan)
    source, gpus = plan.source, gpu_count(plan)
    mounts = () if source.kind == "hub" else (Mount(MODEL, source),)
    args = (*argv(model_words(plan)), "--config", f"{CONFIG}/{CONFIG_FILE}", *argv(address_words(plan)),
            *argv(author_words(plan)))
    secrets = [] if plan.api_key is None else [SecretVariable("VLLM_API_KEY", plan.api_key, "api-key")]
    if source.kind == "hub":
        secrets.append(SecretVariable("HF_TOKEN", "env:HF_TOKEN", "hf-token", optional=True))
    return Container(plan.image, args, entry_point=("vllm", "serve"), env=variables(variable_words(plan)),
                     secrets=tuple(secrets),
                     files=(File(CONFIG_FILE, config_text(setting_words(plan))), *config_files(plan)),
                     mounts=(*mounts, *lora_mounts(plan)), port=PORT, gpus=gpus, shm_bytes=_shared_memory(gpus),
                     drain_seconds=DRAIN_SECONDS)


def gpu_count(plan: Plan) -> int:
    """GPUs of one copy; 0 where it computes on CPUs."""
    if on_cpu(plan):
        return 0
    shares = (plan.setting("serve.tensor_parallel"), plan.setting("serve.pipeline_parallel"))
    count = 1
    for said in shares:
        count *= int(said.value) if said is not None else 1
    return count


def _shared_memory(gpus: int) -> int:
    """Workers talk through /dev/shm: those of several GPUs, and the one that a CPU build always starts.

    Containers come with 64 MiB of it; the rings alone take 160 (`distributed/device_communicators/shm_broadcast.py`).
    """
    return 2 * _GIB * gpus if gpus > 1 else _GIB if gpus == 0 else 0


def presume_precision(plan: Plan) -> None:
    """Raise Failure where QUANTIZE asks for weights that nobody makes on the machines that the stage runs on."""
    said, made = plan.setting("quantize"), quantized_as(plan)
    if said is None or plan.source is None or plan.source.kind == "folder":
        return
    word, where = str(said.value), said.origin.where or str(said.origin)
    row = PRECISIONS.get(word)
    if row is None or row.form != "safetensors" or made is not None:
        return
    if word != "fp8":
        raise Failure("precision-not-pushed", f"{plan.source.name} is not {word} ({where}), and the machines of stage "
                      f"`{plan.stage}` do not make it", hint=f"run `modelkit convert {plan.reference} --to safetensors "
                      f"--quantize {word}` here, `modelkit push` it, and write `FROM oci://…` in the stage; or take "
                      "`QUANTIZE fp8`, which vLLM makes while it loads")

"""safetensors to compressed-tensors through llmcompressor. Run by `driver.py` where that is installed."""

from __future__ import annotations

import importlib
import json
import logging
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

_GROUPS = (128, 64, 32)  # columns that share a scale: the widest that divides the columns of every matrix
_LAYER = re.compile(r"\((\d+)/(\d+)\)")
_LENGTH = 512  # tokens of a calibration text at most
_OURS = ("*.safetensors", "*.safetensors.index.json", "config.json")  # what is made; the rest is as it was


def main(request: Mapping[str, Any], say: Callable[..., None]) -> dict[str, Any]:
    """Asked with `source` and `target` (folders), `scheme`, `algorithm` (rtn, gptq or awq), `texts`, `label`."""
    label = request["label"]
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    say(progress=[0, None, "loading the compressor"])
    torch, transformers, llmcompressor = map(importlib.import_module, ("torch", "transformers", "llmcompressor"))
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    source, target = Path(request["source"]), Path(request["target"])
    say(progress=[0, None, "reading the model"])
    model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype="auto", trust_remote_code=False,
                                                              use_safetensors=True, local_files_only=True)
    more = {}
    if request["algorithm"] != "rtn":
        more = _calibration(source, request["texts"], transformers)
        _tell_progress(sum(file.stat().st_size for file in source.glob("*.safetensors")), label, say)
    say(progress=[0, None, label])
    llmcompressor.oneshot(model=model, recipe=_modifiers(model, request, torch, say), **more)
    say(progress=[0, None, "writing the compressed model"])
    made = target.parent / "made"
    model.save_pretrained(made, save_compressed=True, max_shard_size="5GB")
    for pattern in _OURS:
        for file in made.glob(pattern):
            shutil.move(file, target / file.name)
    _as_it_was(source, target)
    return {}


def _modifiers(model: Any, request: Mapping[str, Any], torch: Any, say: Callable[..., None]) -> list[Any]:
    """What does it, with groups that fit the model."""
    quantization = importlib.import_module("compressed_tensors.quantization")
    scheme = quantization.preset_name_to_scheme(request["scheme"], ["Linear"])
    if scheme.weights.group_size:
        columns = {module.in_features for name, module in model.named_modules()
                   if isinstance(module, torch.nn.Linear) and name != "lm_head"}
        fitting = [group for group in _GROUPS if all(count % group == 0 for count in columns)]
        if not fitting:
            say(failure={"code": "compress-unfit", "hint": "take int8 or fp8",
                         "message": f"a matrix of the model has {min(columns)} columns, which groups of "
                                    f"{', '.join(map(str, _GROUPS))} do not divide"})
            raise SystemExit(1)
        scheme.weights.group_size = fitting[0]
    rounding = ("llmcompressor.modifiers.quantization", "QuantizationModifier")
    where, name = ("llmcompressor.modifiers.gptq", "GPTQModifier") if request["algorithm"] == "gptq" else rounding
    chosen = [getattr(importlib.import_module(where), name)(config_groups={"group_0": scheme}, ignore=["lm_head"])]
    if request["algorithm"] == "awq":  # it scales columns against the norms before them; rounding comes after
        if not torch.accelerator.is_available():  # llmcompressor 0.14 pins memory for a device even where there is none
            cache = importlib.import_module("llmcompressor.pipelines.cache").IntermediatesCache
            cache.pin_memory = lambda *_: None
        chosen.insert(0, importlib.import_module("llmcompressor.modifiers.transform.awq").AWQModifier())
    return chosen


def _tell_progress(total: int, label: str, say: Callable[..., None]) -> None:
    """How far the layers are, from the words of the bar that llmcompressor shows for each: `(3/31): Calibrating`."""
    pipeline: Any = importlib.import_module("llmcompressor.pipelines.sequential.pipeline")
    shown = pipeline.tqdm

    def telling(*given: Any, desc: str = "", **named: Any) -> Any:
        if (layer := _LAYER.match(desc)) is not None:
            say(progress=[total * (int(layer[1]) - 1) // int(layer[2]), total, label])
        return shown(*given, desc=desc, **named)

    pipeline.tqdm = telling


def _calibration(source: Path, texts: list[str], transformers: Any) -> dict[str, Any]:
    datasets = importlib.import_module("datasets")
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=True)
    rows = [tokenizer(text, truncation=True, max_length=_LENGTH) for text in texts]
    kept = [{"input_ids": row["input_ids"], "attention_mask": row["attention_mask"]} for row in rows
            if row["input_ids"]]
    return {"dataset": datasets.Dataset.from_list(kept), "num_calibration_samples": len(kept),
            "max_seq_length": _LENGTH, "shuffle_calibration_samples": False, "tokenizer": tokenizer}


def _as_it_was(source: Path, target: Path) -> None:
    """Tokenizer, template and what else belongs to the model, byte for byte; only `config.json` says what is new."""
    for file in source.iterdir():
        if not (target / file.name).exists() and not any(file.match(pattern) for pattern in _OURS):
            shutil.copyfile(file, target / file.name)
    before, after = (json.loads((folder / "config.json").read_text("utf-8")) for folder in (source, target))
    before["quantization_config"] = after["quantization_config"]
    (target / "config.json").write_text(json.dumps(before, indent=2, sort_keys=True) + "\n", "utf-8")

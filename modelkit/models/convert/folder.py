"""The Hugging Face folder of a GGUF, made once and kept: what vLLM loads when the base is a GGUF."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models.convert import derived
from modelkit.models.digests import digest
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.models.formats.gguf import Header
    from modelkit.models.weights import Weights

_WEIGHTS = "model.safetensors"
_USERS_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt", "*_Pooling/config.json")


_TOOL = "modelkit dequantize"
_VERSION = 1  # counts changes of what this code writes
MAKER = f"{_TOOL} {_VERSION}"


def recipe(weights: Weights) -> dict[str, Any]:
    """How the folder is made."""
    return {"tool": _TOOL, "version": _VERSION, "input": weights.digest, "arguments": {"dtype": "bfloat16"}}


def locate_folder(weights: Weights, store: Store | None = None, *, verify: bool = False) -> Weights | None:
    """The folder made from `weights`, None if it is not here or not whole. `verify` reads every byte of it."""
    if weights.form == "safetensors":
        return weights
    found = derived.find(recipe(weights), store or Store(), verify=verify)
    return None if found is None else _weights(weights.reference, found.path, found.manifest)


def huggingface_folder(weights: Weights, store: Store | None = None, on_progress: Progress = quiet, *,
                       verify: bool = False) -> Weights:
    """The folder made from `weights`, made now if it is not here. Raises Failure for what can't be converted yet."""
    store = store or Store()
    if weights.form == "safetensors":
        return weights
    label = f"converting {Path(weights.reference).name} to bfloat16"
    made = derived.make(recipe(weights), store, lambda folder: _write(weights, store, folder, on_progress, label),
                        label=label, on_progress=on_progress, verify=verify)
    return _weights(weights.reference, made.path, made.manifest)


def users_folder(path: Path, reference: str, store: Store, on_progress: Progress) -> Weights:
    """A Hugging Face folder that the user named; it is used where it is."""
    if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
        models = sorted(file.name for file in path.glob("*.gguf"))
        raise Failure("model-missing", f"{path} is no model: it has no config.json beside safetensors",
                      f"did you mean `{path / models[0]}`?" if models else "name a GGUF file or a Hugging Face folder")
    files = files_of(path)
    manifest = {"files": {file.relative_to(path).as_posix(): {
        "sha256": store.digest(file, on_progress).removeprefix("sha256:"), "size": file.stat().st_size}
        for file in files}}
    return _weights(reference, path, manifest)


def files_of(path: Path) -> list[Path]:
    """The files of a Hugging Face folder that say what the model is."""
    return sorted({file for pattern in _USERS_FILES for file in path.glob(pattern)})


def _weights(reference: str, place: Path, manifest: dict[str, Any]) -> Weights:
    from modelkit.models.weights import Weights

    return Weights(reference=reference, form="safetensors", path=str(place), digest=digest(manifest),
                   size=sum(said["size"] for said in manifest["files"].values()), recipe=manifest.get("recipe"))


def _write(weights: Weights, store: Store, folder: Path, on_progress: Progress, label: str) -> dict[str, Any]:
    """Write all files and return their sizes and digests."""
    from modelkit.models.convert import dequantize
    from modelkit.models.convert.families import dimensions_of
    from modelkit.models.convert.joined import is_digest, whole_header
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.splits import read_split

    source = Path(weights.path)
    model = read_split(source)
    header = whole_header(model)
    dimensions = dimensions_of(header)  # says first what can't be converted at all
    vocabulary = read_vocabulary(header)
    files = {}
    for name, text in _texts(header, vocabulary).items():
        data = text.encode()
        (folder / name).write_bytes(data)
        files[name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    parts = dequantize.parts(header, dimensions, len(vocabulary.tokens))
    total = dequantize.size(parts)
    store.need_space(total, label)
    if not is_digest(weights.digest, model, {str(path): store.digest(path) for path in model.paths}):
        raise Failure("model-changed", f"{source} is no longer the file that was planned with", "run it again")
    sha256, size = dequantize.write(header, parts, folder / _WEIGHTS, lambda done: on_progress(done, total, label))
    return files | {_WEIGHTS: {"sha256": sha256, "size": size}}


def _texts(header: Header, vocabulary: Any) -> dict[str, str]:
    """The small files by name."""
    from modelkit.models.convert import hf_config, tokenizer

    context_length = hf_config.context_length(header)
    texts = {
        "config.json": _pretty(hf_config.config(header, vocabulary)),
        "generation_config.json": _pretty(hf_config.generation_config(vocabulary)),
        "tokenizer.json": tokenizer.tokenizer_json(vocabulary),
        "tokenizer_config.json": _pretty(tokenizer.tokenizer_config(vocabulary, context_length)),
        "special_tokens_map.json": _pretty(tokenizer.special_tokens(vocabulary)),
    }
    if (template := tokenizer.complete_chat_template(vocabulary)) is not None:
        texts["chat_template.jinja"] = template
    return texts


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

"""Which file of a model each layer of a manifest is. Knows the layouts, not where they come from.

Sources of the media types and annotations:

- CNCF ModelPack: github.com/modelpack/model-spec, `specs-go/v1/mediatype.go` and `annotations.go`; before it moved to
  the CNCF the same with `cnai` for `cncf` (github.com/CloudNativeAI/model-spec).
- Docker Model Runner: github.com/docker/model-runner, `pkg/distribution/types/config.go`. Layers of its version 0.1
  have no path; it unpacks them under the fixed names of `pkg/distribution/internal/bundle/unpack.go`.
- Ollama: github.com/ollama/ollama, `manifest/layer.go` and `server/images.go`.
- ORAS: the title of the OCI image specification's `annotations.md`; oras-go's `content/file` packs folders as a
  gzipped tar and marks them with `io.deis.oras.content.unpack`, oras-py 0.2 only gives them that media type.

Layers that hold code or data sets are not part of a model to run. They are never fetched, nor are pickles that lie
beside weights in a form that can be used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from modelkit.failure import Failure
from modelkit.models.artifact import Form, Piece, Role, presume_inside
from modelkit.models.sources.manifests import Layer, Manifest, broken

FILE_PATH = "org.cncf.model.filepath"
TITLE = "org.opencontainers.image.title"
_PATHS = (FILE_PATH, "org.cnai.model.filepath", TITLE)
_ORAS_UNPACK = "io.deis.oras.content.unpack"
_ORAS_FOLDER = "application/vnd.oci.image.layer.v1.tar+gzip"

_MODELPACK = re.compile(r"application/vnd\.(?:cncf|cnai)\.model\.(?P<what>weight\.config|weight|doc|code|dataset|layer)"
                        r"\.(?:v1\.)?(?P<packed>raw|gguf|safetensors|tar|tar\+gzip|tar\+zstd)")
_NAMED: dict[str, tuple[Role, str]] = {
    "application/vnd.docker.ai.gguf.v3": ("weights", "model{part}.gguf"),
    "application/vnd.docker.ai.gguf.v3.lora": ("adapter", "adapter{number}.gguf"),
    "application/vnd.docker.ai.gguf.v3.mmproj": ("projector", "mmproj{number}.gguf"),
    "application/vnd.docker.ai.mmproj": ("projector", "mmproj{number}.gguf"),
    "application/vnd.docker.ai.safetensors": ("weights", "model{part}.safetensors"),
    "application/vnd.docker.ai.chat.template.jinja": ("template", "chat_template{number}.jinja"),
    "application/vnd.docker.ai.license": ("license", "LICENSE{number}"),
    "application/vnd.ollama.image.model": ("weights", "model{part}.gguf"),
    "application/vnd.ollama.image.adapter": ("adapter", "adapter{number}.gguf"),
    "application/vnd.ollama.image.projector": ("projector", "projector{number}.gguf"),
    "application/vnd.ollama.image.template": ("template", "template{number}"),
    "application/vnd.ollama.image.prompt": ("template", "prompt{number}"),
    "application/vnd.ollama.image.system": ("system", "system{number}"),
    "application/vnd.ollama.image.params": ("params", "params{number}.json"),
    "application/vnd.ollama.image.messages": ("messages", "messages{number}.json"),
    "application/vnd.ollama.image.license": ("license", "license-{count}"),
}
"""What a layer is by its media type, and its name when it has none of its own."""

_TARS = {"application/vnd.docker.ai.vllm.config.tar": "tar", "application/vnd.docker.ai.dir.tar": "tar"}
_LEFT_OUT = (".py", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".npy", ".npz", ".h5", ".onnx",
             ".msgpack", ".ot", ".so", ".sh")
_OLLAMA_NAMES: dict[str, Role] = {"template": "template", "system": "system", "params.json": "params",
                                  "messages.json": "messages", "adapter.gguf": "adapter",
                                  "projector.gguf": "projector"}
_WEIGHT_FORMS: dict[str, Form] = {".gguf": "gguf", ".safetensors": "safetensors"}


@dataclass(frozen=True)
class Archive:
    """A layer that holds several files: `packed` is `tar` or `tar+gzip`."""

    layer: Layer
    packed: str


@dataclass(frozen=True)
class Contents:
    """The files of a manifest, and the layers whose files are known only when they are here."""

    pieces: tuple[Piece, ...]
    archives: tuple[Archive, ...]


def contents(manifest: Manifest, where: str) -> Contents:
    """What the layers are. Raises Failure for names that lead elsewhere and for layers that can't be unpacked."""
    counted = Counter(layer.media_type for layer in manifest.layers)
    numbers: Counter[str] = Counter()
    pieces: list[Piece] = []
    archives: list[Archive] = []
    for layer in manifest.layers:
        numbers[layer.media_type] += 1
        if (packed := _packed(layer, where)) is not None:
            archives.append(Archive(layer, packed))
            continue
        path, role = _own_path(layer), _role(layer)
        if path is None and role is not None:
            path = _fixed_name(layer, numbers[layer.media_type], counted[layer.media_type])
        if path is None or role is None:
            continue
        presume_inside(path)
        if not left_out(path):
            pieces.append(Piece(path, layer.digest, layer.size, role))
    return Contents(tuple(pieces), tuple(archives))


def form_of(pieces: Iterable[Piece], manifest: Manifest, where: str) -> Form:
    """Whether this is a GGUF or a safetensors model. Raises Failure when it is neither or both."""
    weights = [piece for piece in pieces if piece.role == "weights"]
    forms = {_WEIGHT_FORMS.get(PurePosixPath(piece.path).suffix.lower()) for piece in weights}
    if len(forms) == 1 and (form := forms.pop()) is not None:
        return form
    if len(weights) == 1:
        return "gguf"  # a lone layer of weights, of a name that says nothing: its content is checked when it is here
    if len(forms) > 1:
        raise Failure("model-ambiguous", f"{where} holds weights of several kinds: "
                      f"{', '.join(piece.path for piece in weights[:6])}", "name an artifact that holds one of them")
    if any(piece.role == "adapter" for piece in pieces):
        return "adapter"
    kinds = sorted({layer.media_type for layer in manifest.layers} | {manifest.config.media_type})
    raise Failure("model-missing", f"{where} holds no GGUF or safetensors weights",
                  "modelkit reads ModelPack, Docker Model Runner, Ollama and ORAS artifacts", tuple(kinds[:12]))


def presume_distinct(pieces: Iterable[Piece], where: str) -> None:
    """Raise Failure unless the files can lie beside each other, on disks that ignore case too."""
    names = [piece.path.lower() for piece in pieces]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        broken(where, f"it has two files of the name `{twice}`")
    folders = {str(folder) for name in names for folder in PurePosixPath(name).parents}
    if both := folders & set(names):
        broken(where, f"`{min(both)}` is both a file and a folder in it")


def role_of(path: str) -> Role:
    """What a file is by its name, where its layer does not say."""
    name = PurePosixPath(path).name.lower()
    if (role := _OLLAMA_NAMES.get(path)) is not None:
        return role
    if name.endswith(".gguf"):
        return "projector" if "mmproj" in name else "weights"
    if name.endswith(".safetensors"):
        return "adapter" if name.startswith("adapter") else "weights"
    if name.startswith(("license", "licence", "copying", "notice")):
        return "license"
    if name.endswith(".jinja"):
        return "template"
    return "config" if name.endswith((".json", ".model", ".txt", ".tiktoken")) else "other"


def left_out(path: str) -> bool:
    """Is it code, or weights in a form that runs code? Such a file is not fetched."""
    return path.lower().endswith(_LEFT_OUT)


def written(role: Role) -> str:
    """The ModelPack media type of a file of ours."""
    kind = {"license": "doc", "other": "doc", "weights": "weight", "projector": "weight", "adapter": "weight"}
    return f"application/vnd.cncf.model.{kind.get(role, 'weight.config')}.v1.raw"


def _packed(layer: Layer, where: str) -> str | None:
    """How an archive is packed, None for a file as it is or a layer that is not wanted."""
    found = _MODELPACK.fullmatch(layer.media_type)
    if found is not None and found["what"] not in ("code", "dataset"):
        packed = found["packed"] if found["packed"].startswith("tar") else None
    elif layer.annotations.get(_ORAS_UNPACK) == "true" or (
            layer.media_type == _ORAS_FOLDER and TITLE in layer.annotations):
        packed = "tar+gzip"
    elif "org.cnai.model.filepath" in layer.annotations and ".image.layer.v1." in layer.media_type:
        packed = layer.media_type.rpartition(".")[2]
    else:
        packed = _TARS.get(layer.media_type)
    if packed not in (None, "tar", "tar+gzip"):
        raise Failure("layer-unsupported", f"{where} has a layer that modelkit can't unpack, a {layer.media_type}",
                      "ask for the model with raw, tar or tar+gzip layers")
    return packed


def _own_path(layer: Layer) -> str | None:
    path = next((layer.annotations[key] for key in _PATHS if layer.annotations.get(key)), None)
    return None if path is None else path.removeprefix("./")


def _role(layer: Layer) -> Role | None:
    """None for a layer that is no part of a model to run."""
    path = _own_path(layer)
    if (named := _NAMED.get(layer.media_type)) is not None:
        return named[0]
    if (found := _MODELPACK.fullmatch(layer.media_type)) is None:
        return None if path is None else role_of(path)
    match found["what"]:
        case "weight":
            by_name = role_of(path or "")
            return by_name if by_name in ("adapter", "projector") else "weights"
        case "weight.config" | "doc":
            by_name = role_of(path or "")
            return by_name if by_name != "weights" else "other"
    return None


def _fixed_name(layer: Layer, number: int, count: int) -> str | None:
    """The name of a layer that has none: numbered as split weights are, or from the second on."""
    if (named := _NAMED.get(layer.media_type)) is not None:
        part = f"-{number:05}-of-{count:05}" if count > 1 else ""
        return named[1].format(part=part, number=f"-{number}" if number > 1 else "", count=number)
    found = _MODELPACK.fullmatch(layer.media_type)
    if found is not None and found["packed"] in ("gguf", "safetensors"):
        return f"model{f'-{number:05}-of-{count:05}' if count > 1 else ''}.{found['packed']}"
    return None

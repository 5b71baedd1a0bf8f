"""Which name a blob of Ollama's store has: `ollama show --modelfile` prints paths of blobs, which only one machine has.

Facts: github.com/ollama/ollama, `manifest/paths.go`: `manifests/HOST/NAMESPACE/MODEL/TAG` beside `blobs/sha256-…`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from modelkit.failure import Failure
from modelkit.models.reference import OLLAMA_REGISTRY
from modelkit.models.sources.manifests import LARGEST, Manifest, parse
from modelkit.models.sources.ollama import stores

_BLOB = re.compile(r"(?P<root>.*)[/\\]blobs[/\\]sha256[-:](?P<hex>[0-9a-f]{64})")
_MODEL = "application/vnd.ollama.image.model"
_MOST_MANIFESTS = 20_000


@dataclass(frozen=True)
class Named:
    """A model of the store: its reference, and the digests of its files by their media types."""

    reference: str
    layers: frozenset[tuple[str, str]]
    since: float  # when the manifest was written

    def has(self, digest: str) -> bool:
        return any(digest == one for _, one in self.layers)


def blob_digest(path: str) -> str | None:
    """The digest of the blob that a path names, `sha256:…`; None for any other path."""
    found = _BLOB.fullmatch(path.strip())
    return None if found is None else f"sha256:{found['hex']}"


def models_with(path: str) -> list[Named]:
    """The models whose weights are the blob at `path`, in its own store or in those of this machine.

    The oldest first: a model made from another has that one's weights, and came after it.
    """
    found = _BLOB.fullmatch(path.strip())
    if found is None:
        return []
    roots = dict.fromkeys([Path(found["root"]), *stores()])
    weights = (_MODEL, f"sha256:{found['hex']}")
    named = [one for root in roots for one in _models(root) if weights in one.layers]
    return sorted({one.reference: one for one in reversed(named)}.values(), key=lambda one: (one.since, one.reference))


def _models(root: Path) -> Iterator[Named]:
    try:
        files = list(islice((root / "manifests").glob("*/*/*/*"), _MOST_MANIFESTS))
    except OSError:
        return
    for file in sorted(files):
        try:
            status = file.stat()
            if not 0 < status.st_size <= LARGEST:
                continue
            manifest = parse(file.read_bytes(), str(file))
        except (OSError, Failure):
            continue
        if isinstance(manifest, Manifest):
            layers = frozenset((layer.media_type, layer.digest) for layer in manifest.layers)
            yield Named(_reference(*file.parts[-4:]), layers, status.st_mtime)


def _reference(host: str, space: str, model: str, tag: str) -> str:
    """As a Modelfile names it.

    >>> _reference("registry.ollama.ai", "library", "llama3.2", "3b"), _reference("hf.co", "org", "repo", "Q8_0")
    ('ollama://llama3.2:3b', 'hf.co/org/repo:Q8_0')
    """
    if host in ("hf.co", "huggingface.co"):
        return f"hf.co/{space}/{model}" + (f":{tag}" if tag != "latest" else "")
    prefix = "" if host == OLLAMA_REGISTRY else f"{host}/"
    space = "" if space == "library" and not prefix else f"{space}/"
    return f"ollama://{prefix}{space}{model}:{tag}"

"""sha256 of values and of files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def canonical_json(value: Any) -> bytes:
    """One spelling of a JSON value: sorted keys, no spaces, UTF-8. Digests are taken over this."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(value: Any) -> str:
    """`sha256:…` over the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value)).hexdigest()


def file_digest(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """`sha256:…` of a file's content. `on_bytes` hears how much has been read."""
    sha256, block, done = hashlib.sha256(), bytearray(_BLOCK), 0
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            sha256.update(memoryview(block)[:count])
            done += count
            if on_bytes is not None:
                on_bytes(done)
    return "sha256:" + sha256.hexdigest()

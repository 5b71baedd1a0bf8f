"""Writes wheels for tests, well-formed or not."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

MEMBER = "carrier/model.gguf"


def record_of(files: dict[str, bytes]) -> bytes:
    rows = [f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
            for name, data in files.items()]
    return "\n".join([*rows, "carrier-1.0.dist-info/RECORD,,", ""]).encode()


def wheel(folder: Path, files: dict[str, bytes], *, name: str = "carrier", version: str = "1.0",
          record: bytes | None = None) -> Path:
    """A wheel that pip accepts, holding `files`; `record` replaces the true RECORD."""
    info = f"{name}-{version}.dist-info"
    said = {**files, f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in said.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", record_of(said) if record is None else record)
    return path

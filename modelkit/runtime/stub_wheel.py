"""Wheels of metadata alone: a requirement is met, and nothing is installed but the word that it is."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

from modelkit.engines.requirements import Stub

_DATE = (1980, 1, 1, 0, 0, 0)  # the same stub gives the same bytes


def write(stub: Stub, folder: Path) -> Path:
    """Write the stub's wheel into `folder`."""
    info = f"{stub.name}-{stub.version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {stub.name}\nVersion: {stub.version}\n"
    members = {
        f"{info}/METADATA": metadata + "".join(f"Requires-Dist: {one}\n" for one in stub.requires),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: modelkit\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},{_hash(text)},{len(text.encode())}\n" for name, text in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    path = folder / f"{stub.name}-{stub.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, text in members.items():
            wheel.writestr(zipfile.ZipInfo(name, _DATE), text)
    return path


def _hash(text: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()

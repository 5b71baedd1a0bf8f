"""Container images at their registries: what a tag means now, by digest. Nothing of an image is fetched.

The digest is that of what the tag names: for an image of several architectures of their list, so that each machine
takes its own from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from modelkit.failure import Failure
from modelkit.models.sources.registry import Registry
from modelkit.models.store import Progress, quiet

_IMAGE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")
_HUB = "docker.io"


@dataclass(frozen=True)
class ImageName:
    """An image's name in full. `tag` is "" where only a digest is said."""

    host: str
    name: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.name}"

    @property
    def pinned(self) -> str:
        """`repository@sha256:…`, as every platform takes it."""
        return f"{self.repository}@{self.digest}"

    @property
    def locked(self) -> str:
        """The same with its tag, as the lock has it."""
        return f"{self.repository}:{self.tag}@{self.digest}" if self.tag else self.pinned


def image_name(text: str) -> ImageName:
    """What a text names, as Docker reads it: no host means Docker Hub, no tag `latest`. Raises Failure."""
    said = _IMAGE.fullmatch(text)
    if said is None:
        raise Failure("image-invalid", f"`{text}` is no image", hint="write `host/name:tag` or `host/name@sha256:…`")
    first, slash, rest = said["name"].partition("/")
    hosted = slash and (set(first) & set(".:") or first == "localhost")
    host, name = (first, rest) if hosted else (_HUB, said["name"])
    if host == _HUB and "/" not in name:
        name = f"library/{name}"
    return ImageName(host, name, said["tag"] or ("" if said["digest"] else "latest"), said["digest"] or "")


def resolve_image(text: str, on_progress: Progress = quiet) -> ImageName:
    """The image that a tag names now. One that says its digest is not asked for. Raises Failure."""
    asked = image_name(text)
    if asked.digest:
        return asked
    on_progress(0, None, f"asking {asked.host} for {asked.name}:{asked.tag}")
    try:
        digest = Registry(asked.host, asked.name).digest(asked.tag)
    except Failure as failure:
        if failure.code != "model-missing":
            raise
        raise Failure("image-missing", f"there is no image {asked.repository}:{asked.tag}",
                      hint="check the name and the tag: `SERVE image host/name:tag`", detail=failure.detail) from None
    return ImageName(asked.host, asked.name, asked.tag, digest)

"""The container images of a Modelfile's stages: what their tags mean, by digest, under the lock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from modelkit.cli.lockfile import LockFile
from modelkit.failure import Failure
from modelkit.models.store import Progress, quiet

if TYPE_CHECKING:
    from modelkit.models.sources.images import ImageName
    from modelkit.planning.forms import Wanted
    from modelkit.planning.plan import Engine, Plan


class Images:
    """What is known of them in one command: what the lock says, and what registries said since."""

    def __init__(self, lock: LockFile) -> None:
        self._lock = lock
        self._found: dict[str, ImageName] = {}

    def engine(self, stage: str, ask: Wanted) -> tuple[Engine, str]:
        """The engine in its image, and the image, by digest where that is known.

        The version stays the lock's as long as the Modelfile asks for the same, whatever this release would take.
        """
        from modelkit.engines.images import image_engine

        locked = self._lock.stage(stage)
        if locked is not None and locked.engine and locked.requires == ask.requires and ask.image is None:
            with suppress(Failure):  # a version that this release does not know any more
                engine, tag = image_engine(ask.engine, f"=={locked.engine}", None, ask.accelerator,
                                           ask.platform)
                if self.known(stage, tag) is not None:
                    return engine, self.pinned(stage, tag)
        engine, tag = image_engine(ask.engine, ask.specifier, ask.image, ask.accelerator, ask.platform)
        return engine, self.pinned(stage, tag)

    def known(self, stage: str, image: str) -> ImageName | None:
        """An image by its digest; None while nobody has asked for it."""
        from modelkit.models.sources.images import image_name

        asked = image_name(image)
        if asked.digest:
            return asked
        if image in self._found:
            return self._found[image]
        locked = self._lock.stage(stage)
        every = [image_name(one) for one in locked.images] if locked is not None else []
        return next((one for one in every if (one.repository, one.tag) == (asked.repository, asked.tag)), None)

    def pinned(self, stage: str, image: str) -> str:
        """`repository@sha256:…`, or the tag as it was said."""
        return image if (known := self.known(stage, image)) is None else known.pinned

    def find(self, stage: str, plan: Plan, on_progress: Progress = quiet) -> bool:
        """Ask registries for what a plan's images are now; True when something became known.

        Raises Failure where the lock may not change and does not have them.
        """
        from modelkit.models.sources.images import resolve_image

        missing = [image for image in _of(plan) if "@" not in plan.images.get(image, image)]
        for image in missing:
            if self._lock.lock is not None and self._lock.mode_of(stage) != "auto":
                raise Failure("lock-stale", f"{self._lock.path} has no digest of the image {image} "
                              f"({self._lock.why(stage)})", "run `modelkit lock`, look at what changed, and commit it",
                              exit_code=1)
            self._found[image] = resolve_image(image, on_progress)
        return bool(missing)

    def locked(self, stage: str, plan: Plan) -> Iterator[str]:
        """The plan's images as the lock has them; what nobody has asked for yet is left out."""
        for image in _of(plan):
            said = self._tagged(stage, image)
            if said is not None:
                yield said

    def _tagged(self, stage: str, image: str) -> str | None:
        """With its tag, which a plan's `repository@sha256:…` has lost."""
        from modelkit.models.sources.images import image_name

        if (known := self.known(stage, image)) is None:
            return None
        locked = self._lock.stage(stage)
        every = [*self._found.values(), *(image_name(one) for one in (locked.images if locked else ()))]
        return next((one.locked for one in every if one.pinned == known.pinned), known.locked)


def _of(plan: Plan) -> Iterable[str]:
    return (*((plan.image,) if plan.image else ()), *plan.images)

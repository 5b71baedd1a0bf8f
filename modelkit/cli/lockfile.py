"""The lock beside a Modelfile while a command runs: what it pins, what it refuses, and how it is brought up to date.

    auto    it is used, and written where it no longer answers the Modelfile
    locked  it is used, and a command that would have to change it stops (`--locked`, `POLICY locked`)
    frozen  it is used as it is; whether it answers the Modelfile is not asked (`--frozen`)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from modelkit.failure import Failure
from modelkit.models import lock as lockfile
from modelkit.models.lock import Lock, LockedArtifact, LockedStage
from modelkit.models.reference import Reference

if TYPE_CHECKING:
    from modelkit.language.modelfile import Modelfile
    from modelkit.models.artifact import Artifact
    from modelkit.models.convert.tool import Tool
    from modelkit.models.forms import Step

Mode = Literal["auto", "locked", "frozen"]


class LockFile:
    """The lock of one Modelfile.

    With `upgrade`, what it pinned before does not count; with `rewrite`, it may change whatever a policy says.
    """

    def __init__(self, modelfile: Modelfile, mode: Mode = "auto", *, upgrade: bool = False, rewrite: bool = False,
                 ) -> None:
        self.modelfile, self.mode, self.upgrade, self.rewrite = modelfile, mode, upgrade, rewrite
        self.folder = Path(modelfile.path).absolute().parent
        self.path = lockfile.path_of(Path(modelfile.path))
        self.lock = lockfile.read(self.path)
        if self.lock is None and mode != "auto":
            raise Failure("lock-missing", f"there is no {self.path}, and `--{mode}` asks for it", "modelkit lock",
                          exit_code=1)

    @classmethod
    def of(cls, modelfile: Modelfile, arguments: Any) -> LockFile:
        """As the command line wants it."""
        mode: Mode = ("frozen" if getattr(arguments, "frozen", False)
                      else "locked" if getattr(arguments, "locked", False) else "auto")
        return cls(modelfile, mode)

    def mode_of(self, stage: str) -> Mode:
        """`POLICY locked` makes a stage strict."""
        return "locked" if self.mode == "auto" and self._policy(stage) else self.mode

    def why(self, stage: str) -> str:
        """Who asks for the lock to be kept."""
        return "`POLICY locked`" if self._policy(stage) else f"`--{self.mode}`"

    def _policy(self, stage: str) -> bool:
        from modelkit.language.layers import effective

        return not self.rewrite and any(said.value == "locked" for said in effective(self.modelfile, stage).policies)

    def name(self, asked: Reference) -> str:
        """A reference as the lock spells it."""
        return lockfile.portable(asked.text, self.folder)

    def artifact(self, asked: Reference) -> LockedArtifact | None:
        known = None if self.lock is None or self.upgrade else self.lock.artifact_for(self.name(asked))
        return known

    def stage(self, stage: str) -> LockedStage | None:
        return None if self.lock is None or self.upgrade else self.lock.stage_named(stage)

    def pinned(self, asked: Reference, stage: str) -> Reference:
        """What FROM means: what it meant when the lock was written, if the lock has it."""
        locked = self.artifact(asked)
        if self.lock is not None and locked is None and self.mode_of(stage) != "auto":
            raise Failure("lock-stale", f"{self.path} has no {asked.text} ({self.why(stage)})", "run `modelkit lock`, "
                          "look at what changed, and commit it", exit_code=1)
        return asked if locked is None or asked.path is not None else Reference.parse(locked.resolved, self.folder)

    def presume_files(self, asked: Reference, artifact: Artifact, stage: str) -> None:
        """Refuse other files than the lock's; a path of the user's own may change where the lock may."""
        from modelkit.planning.locking import presume_files

        locked = self.artifact(asked)
        if locked is not None and (asked.path is None or self.mode_of(stage) != "auto"):
            presume_files(artifact, locked, str(self.path))

    def tools(self, stage: str, way: tuple[Step, ...], here: Mapping[str, Tool]) -> Mapping[str, Tool]:
        """The tools that the lock says made a stage's weights, where it says so, else those that are here."""
        from modelkit.models.convert.tool import Tool

        locked, tools = self.stage(stage), dict(here)
        steps = locked.steps if locked is not None else ()
        if [(s.kind, s.precision) for s in steps] != [(s.kind, s.precision) for s in way]:
            return tools
        for step, old in zip(way, steps, strict=True):
            if step.tool and old.tool and (step.tool not in here or here[step.tool].version != old.tool):
                tools[step.tool] = replace(here[step.tool], version=old.tool) if step.tool in here else \
                    Tool(name=step.tool, version=old.tool, python="")
        return tools

    def presume_tools(self, stage: str, locked: Mapping[str, Tool], here: Mapping[str, Tool]) -> None:
        """Refuse to make weights with other tools than the lock's where the lock may not change."""
        if self.mode_of(stage) == "auto":
            return
        for name, tool in locked.items():
            if name not in here or here[name].version != tool.version:
                found = here[name].version if name in here else "not installed"
                raise Failure("lock-drift", f"{self.path} has weights made by {tool.version}, and the {name} here is "
                              f"{found} ({self.why(stage)})", f"install {tool.version}, or take what is here with "
                              "`modelkit lock --upgrade`", exit_code=1)

    def settle(self, stages: list[LockedStage], artifacts: list[LockedArtifact], *, write: bool = True,
               ) -> tuple[bool, list[str]]:
        """Hold the lock against stages as they are now, and bring it up to date where it may change.

        Returns whether the file was changed, and in what this machine differs from it. Raises Failure `lock-stale`
        or `lock-drift` where it may not change.
        """
        from modelkit.planning.locking import drift, kept, presume_current

        differences: list[str] = []
        known = {one.reference: one.files for one in self.lock.artifact} if self.lock else {}
        replaced = {one.reference for one in artifacts if known.get(one.reference, one.files) != one.files}
        for stage in stages:
            mode = self.mode_of(stage.name)
            if mode == "locked":
                presume_current(stage, self.lock, str(self.path), self.why(stage.name))
            elif (locked := self.stage(stage.name)) is not None and not replaced & {*stage.artifacts}:
                differences += drift(stage, locked)
        if self.mode == "frozen" or not write:
            return False, differences
        # What was made of other files is nothing to keep.
        settled = [stage if replaced & {*stage.artifacts} else kept(stage, self.stage(stage.name)) for stage in stages]
        lock = (self.lock or Lock()).merged(settled, artifacts, ["experiment", *self.stages()])
        changed = lockfile.write(lock, self.path)
        self.lock = lock
        return changed, differences

    def stages(self) -> list[str]:
        """The stages that people mean by all of them: dev, prod, and those that the file has."""
        return list(dict.fromkeys(("dev", "prod", *self.modelfile.stages)))

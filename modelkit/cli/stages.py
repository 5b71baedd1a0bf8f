"""One Modelfile's stages in one command: looked at, planned, prepared, locked."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.cli import project
from modelkit.cli.images import Images
from modelkit.cli.lockfile import LockFile
from modelkit.cli.policies import presume_policies
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure
from modelkit.models.store import Progress, Store, quiet

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.engines.llama_providers import Provider
    from modelkit.language.modelfile import Modelfile
    from modelkit.models.lock import LockedArtifact, LockedRung, LockedStage
    from modelkit.planning.facts import Facts
    from modelkit.planning.forms import Wanted
    from modelkit.planning.plan import Engine, Plan
    from modelkit.platforms.bundle import Bundle


LLAMA = ("llama.cpp", "llama-server")
"""The language's words for llama.cpp: whoever provides it best, or whoever speaks llama-server's protocol."""


def llama_found() -> tuple[Provider, ...]:
    """Who provides llama.cpp on this machine, the first choice first."""
    from modelkit.engines.llama_providers import providers
    from modelkit.runtime import environments

    here = environments.find("llama.cpp")
    return providers(() if here is None else (here,))


def engines_found(llama: Sequence[Provider] | None = None) -> dict[str, Engine]:
    """The engines of this machine, by the language's word."""
    from modelkit.engines import vllm
    from modelkit.engines.llama_providers import taken
    from modelkit.runtime import environments

    found: dict[str, Engine] = {}
    there = llama_found() if llama is None else llama
    for word in LLAMA:
        if (one := taken(there, word)) is not None:
            found[word] = one.engine
    if (environment := environments.find("vllm")) is not None:
        found["vllm"] = vllm.engine(environment)
    return found


def cpu_flags() -> tuple[str, ...]:
    """The vector units of this machine's processor, where Linux says them."""
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return ()
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return tuple(sorted(flag for flag in flags if flag.startswith(("avx", "amx"))))


class Stages:
    """The stages of a Modelfile, under its lock. Engines are looked for once, models whenever they may have changed.

    With `keep_rungs`, what `QUANTIZE auto` chose on another machine counts here, too.
    """

    def __init__(self, modelfile: Modelfile, arguments: Any, *, lock: LockFile | None = None, keep_rungs: bool = False,
                 ) -> None:
        self.modelfile, self.arguments = modelfile, arguments
        self.lock = lock or LockFile.of(modelfile, arguments)
        self.store, self.images = Store(), Images(self.lock)
        self.keep_rungs = keep_rungs
        self.rungs: dict[tuple[str, str, str], tuple[LockedRung, bool]] = {}  # what was chosen, and whether by the lock

    @cached_property
    def llama(self) -> tuple[Provider, ...]:
        return llama_found()

    @cached_property
    def engines(self) -> dict[str, Engine]:
        return engines_found(self.llama)

    @cached_property
    def gpu(self) -> str | None:
        from modelkit.runtime.devices import gpu_name

        return gpu_name()

    def _fitting(self, ask: Wanted) -> dict[str, Engine]:
        """The engines of this machine; of several versions of vLLM the newest that the stage allows, and of those who
        provide llama.cpp the first."""
        from modelkit.engines import vllm
        from modelkit.engines.llama_providers import taken
        from modelkit.runtime import environments

        if ask.engine in LLAMA and ask.specifier and (one := taken(self.llama, ask.engine, ask.specifier)) is not None:
            return self.engines | {ask.engine: one.engine}
        fitting = environments.find("vllm", ask.specifier) if ask.engine == "vllm" and ask.specifier else None
        return self.engines if fitting is None else self.engines | {"vllm": vllm.engine(fitting)}

    def provider(self, plan: Plan) -> str | None:
        """Who provides the llama.cpp of a plan, and why it is the one; None for other engines, and where none is."""
        from modelkit.engines.llama_providers import why

        one = next((one for one in self.llama if one.engine == plan.engine), None) if plan.engine else None
        return f"{one}: {why(self.llama, one, plan.engine_name)}" if one else None

    def look(self, stage: str, on_progress: Progress = quiet) -> Found:
        """What is here of a stage's model, in the precision that `QUANTIZE auto` comes to where that can be said."""
        from modelkit.cli.weights import look

        return self._chosen(stage, look(self.modelfile, stage, self.lock, self.store, on_progress))

    def fetch(self, stage: str, found: Found, on_progress: Progress = quiet) -> Found:
        """The same with its base and adapters here, see `weights.fetch`."""
        from modelkit.cli.weights import fetch

        return self._chosen(stage, fetch(found, self.lock, stage, self.store, on_progress))

    def inspect(self, stage: str, on_progress: Progress = quiet, *, refresh: bool = False) -> Found:
        """A stage's model with everything known that the lock wants, see `weights.inspect`."""
        from modelkit.cli.weights import inspect

        found = inspect(self.look(stage, on_progress), self.lock, stage, self.store, on_progress, refresh=refresh)
        return self._chosen(stage, found, ask=True)

    def _chosen(self, stage: str, found: Found, *, ask: bool = False) -> Found:
        if not found.wanted.open:
            return found
        from modelkit.cli.fit.choosing import chosen

        return chosen(self, stage, found, ask=ask)

    def facts(self, found: Found, stage: str) -> Facts:
        """What planning is told of the world."""
        from modelkit.cli import adapters
        from modelkit.cli.fit.choosing import origin
        from modelkit.models.inherited import NOTHING, inherited
        from modelkit.planning.facts import Facts
        from modelkit.planning.reach import folder_source, remote_source
        from modelkit.platforms import platform_row
        from modelkit.runtime.machine import memory

        ask = found.wanted
        where = platform_row(ask.platform).where
        engines, image, source, elsewhere = {}, None, None, where == "elsewhere"
        here = None if elsewhere else found.weights  # what was made here is not there
        if where == "process":
            engines = self._fitting(ask)
        else:
            engine, image = self.images.engine(stage, ask)
            engines = {ask.engine: engine}
            source = folder_source(here) if where == "here" else remote_source(found.artifact, stage)
        base = inherited(found.artifact, self.store) if found.base is not None and found.artifact else NOTHING
        return Facts(engines=engines, image=image, source=source, reference=found.reference.text, base=found.base,
                     steps=() if elsewhere else found.left, gguf=here if here and here.form == "gguf" else None,
                     safetensors=here if here and here.form == "safetensors" else None,
                     model=found.facts, gpu=None if elsewhere else self.gpu, cpus=os.cpu_count() or 1,
                     cpu_flags=() if elsewhere else cpu_flags(), memory=memory() if where == "process" else None,
                     tools=frozenset((*found.tools, *(one.tool.name for one in found.adapters if one.tool))),
                     chosen=None if found.wanted.rung is None else (found.wanted.rung.precision, origin(found)),
                     inherited=base, draft=found.draft, projector=found.projector,
                     adapters=tuple(adapters.served(found.adapters, where, stage)))

    def plan(self, stage: str, found: Found | None = None) -> Plan:
        """The stage's plan, with what each setting becomes on its engine. Fetches and makes nothing."""
        from modelkit import platforms
        from modelkit.planning.resolve import resolve

        resolved = resolve(self.modelfile, stage, self.facts(found or self.look(stage), stage),
                           project.overrides(self.arguments))
        images = {image: self.images.pinned(stage, image) for image in platforms.images(resolved)}
        return resolved.model_copy(update={"lowered": platforms.lower(resolved), "images": images})

    def ready(self, stage: str, on_progress: Progress = quiet, *, engine: bool = True) -> tuple[Found, Plan]:
        """A stage with everything that it needs here: fetched, made, proved against the lock.

        Without `engine` only its model is made ready. Raises Failure for what nobody but a person can bring.
        """
        from modelkit.cli import weights

        found = self.look(stage, on_progress)
        self.presume_possible(found, self.plan(stage, found), engine, ask=True)
        if not found.fetched:
            found = self.fetch(stage, found, on_progress)
            self.presume_possible(found, self.plan(stage, found), engine)
        found = weights.finish(found, self.store, on_progress)
        return found, self.plan(stage, found)

    def prepare(self, stages: Sequence[str], on_progress: Progress, terminal: Terminal) -> list[Bundle]:
        """The bundles of stages that are ready; the lock is brought up to date, or held against them.

        Raises Failure for a stage that another program than this machine's supervisor keeps running.
        """
        from modelkit import platforms
        from modelkit.planning.forms import wanted

        for stage in stages:
            platforms.presume_process(wanted(self.modelfile, stage).platform, stage)
        ready = [self.ready(stage, on_progress) for stage in stages]
        for found, plan in ready:
            presume_policies(self.modelfile, plan, found)
        bundles = [platforms.render(plan) for _, plan in ready]
        self.settle([(stage, found) for stage, (found, _) in zip(stages, ready, strict=True)], terminal)
        return bundles

    def settle(self, stages: Sequence[tuple[str, Found]], terminal: Terminal) -> bool:
        """Hold the lock against stages as they are, and write it where it may change; True when it was written.

        Raises Failure for a pair of a GGUF and safetensors that are not one model.
        """
        from modelkit.cli.weights import presume_paired

        presume_paired(stages, self.store)
        entries = [self.entry(stage, found) for stage, found in (*stages, *self._along(stages))]
        try:
            changed, differences = self.lock.settle([one for one, _ in entries],
                                                     [other for _, others in entries for other in others])
        except Failure as failure:
            if failure.code != "lock-unwritable":
                raise
            terminal.note(f"{failure.message}: going on without")  # a container's read-only folder
            return False
        if changed:
            terminal.note(f"wrote {self.lock.path}")
        for difference in differences:
            terminal.note(f"not as locked: {difference}")
        return changed

    def _along(self, stages: Sequence[tuple[str, Found]]) -> Iterator[tuple[str, Found]]:
        """The other stages of the same bases: what is known of those is known of them, so they are locked, too."""
        done, bases = {stage for stage, _ in stages}, {found.asked.text for _, found in stages}
        for stage in self.lock.stages():
            if stage in done or self.lock.mode_of(stage) != "auto":
                continue
            with suppress(Failure):  # whoever runs that stage is told
                found = self.look(stage)
                known = found.artifact is not None and all(one.artifact is not None for one in found.adapters)
                if known and found.asked.text in bases:
                    self.entry(stage, found)
                    yield stage, found

    def stale(self, stage: str, found: Found) -> str | None:
        """Why the lock does not answer the Modelfile about a stage; None when it does. Asks nobody."""
        from modelkit.planning.locking import stale

        if self.lock.lock is None:
            return "there is none"
        locked = self.lock.artifact(found.asked)
        if locked is None or found.artifact is None:
            return f"{found.asked.text} of stage `{stage}` is not in it"
        if missing := next((one for one in found.adapters if one.artifact is None), None):
            return f"the adapter {missing.asked.text} of stage `{stage}` is not in it"
        now, artifacts = self.entry(stage, found)
        for one in artifacts:
            before = self.lock.lock.artifact_for(one.reference)
            if before is not None and before.files != one.files:
                return f"the files of {one.reference} changed"
        return stale(now, self.lock.stage(stage))

    def entry(self, stage: str, found: Found) -> tuple[LockedStage, tuple[LockedArtifact, ...]]:
        """A stage, its model and its adapters as the lock would have them now."""
        from modelkit import platforms
        from modelkit.cli import adapters
        from modelkit.planning.locking import locked_artifact, locked_stage

        assert found.artifact is not None, "the lock is about files that are known"
        plan = self.resolved(stage, found)
        plan = plan.model_copy(update={"images": {image: image for image in platforms.images(plan)}})
        artifact = locked_artifact(self.lock.name(found.asked), found.artifact, found.precision, found.facts)
        known = self.lock.artifact(found.asked)
        if known is not None and known.files == artifact.files and known.resolved == artifact.resolved:
            artifact = known
        lora = list(adapters.locked(found.adapters, self.lock))
        stage_ = locked_stage(plan, found.wanted, artifact, self._made(found), self._engine(found, plan),
                              adapters=[one for one, _ in lora], images=tuple(self.images.locked(stage, plan)))
        return stage_, (artifact, *(other for _, other in lora))

    def resolved(self, stage: str, found: Found) -> Plan:
        """The stage's plan as the Modelfile alone has it: the command line is nobody else's."""
        from modelkit.planning.facts import Overrides
        from modelkit.planning.resolve import resolve

        return resolve(self.modelfile, stage, self.facts(found, stage), Overrides())

    def _made(self, found: Found) -> list[Any]:
        from modelkit.models.forms import maker, trail
        from modelkit.planning.locking import Made

        made = trail(found.base, found.route, found.tools, self.store)
        return [Made(step, tool=maker(step, found.tools),
                     imatrix=self.store.digest(found.wanted.imatrix) if step.imatrix and found.wanted.imatrix else None,
                     output=weights.digest if weights else None, size=weights.size if weights else None)
                for step, weights in zip(found.route, made, strict=True)]

    def _engine(self, found: Found, plan: Plan) -> str:
        """The engine as the lock names it: what is here, else what an install would bring."""
        from modelkit.engines.requirements import SETS

        if (engine := plan.engine) is not None:
            return f"{engine.version} ({engine.provider})" if engine.name.startswith("llama") else engine.version
        from packaging.specifiers import SpecifierSet

        from modelkit.planning.forms import OWN

        allowed = SpecifierSet(found.wanted.specifier)
        version = next((one.version for one in SETS if one.engine == found.wanted.engine
                        and allowed.contains(one.version)), "")
        return f"{version} ({OWN})" if version and found.wanted.engine in LLAMA else version

    def presume_possible(self, found: Found, plan: Plan, engine: bool = True, *, ask: bool = False) -> None:
        """Raise Failure for what nobody but a person can bring, and for what does not fit where the stage runs; with
        `ask`, of a model that is not here, too."""
        from modelkit.cli.fit.fitting import presume_fits
        from modelkit.engines import presume_machine

        if found.refused is not None:
            raise found.refused
        missing = [need for need in plan.needs if not need.automatic and (engine or need.code != "engine")]
        if missing:
            raise Failure("stage-needs", f"stage `{plan.stage}` cannot run here yet: {missing[0].message}",
                          detail=tuple(need.message for need in missing[1:]))
        if engine:
            presume_machine(plan)
            presume_fits(self, found, plan, ask=ask)

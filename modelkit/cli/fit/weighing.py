"""One stage's model on one machine, weighed: what its engine would take in a precision, and how fast it would be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from modelkit.cli.fit.machine import computed_on, hardware_of, presume_built
from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.planning.fit.budget import Budget, Line
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.ladder import Candidate
from modelkit.planning.fit.report import Rung
from modelkit.planning.fit.ways_out import with_setting

if TYPE_CHECKING:
    from modelkit.cli.weights import Found
    from modelkit.models.anatomy import Anatomy
    from modelkit.models.convert.dry_run import DryRun
    from modelkit.models.store import Store
    from modelkit.models.weights import Weights
    from modelkit.planning.fit.calibration import Calibration
    from modelkit.planning.fit.llama_sizes import Sizes
    from modelkit.planning.fit.serving import Serving
    from modelkit.planning.plan import Plan

_ANATOMIES: dict[tuple[str, str], Anatomy] = {}
"""Of this process, by path and digest: a command weighs a model several times."""

_GGUF_OF = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


@dataclass
class Scale:
    """A stage, as it is planned, on some hardware. `anatomy` is its base's, as its source has it."""

    plan: Plan
    found: Found
    anatomy: Anatomy
    hardware: Hardware
    imatrix: bool = False
    dry: Mapping[str, DryRun] = field(default_factory=dict)  # what the quantizer itself would make, where it was asked

    def rung(self, candidate: Candidate, plan: Plan | None = None, *, size_only: bool = False) -> Rung:
        """It in that precision, served as `plan` says; verdict `refused` for what can't be made.

        With `size_only` nobody asks how fast it is, nor how good.
        """
        from modelkit.engines.fitting import serving
        from modelkit.planning.fit.budgets import budget, cache_of

        asked = self._own_serving if plan is None else serving(plan)
        try:
            anatomy = self.loaded(candidate.word)
            said = self._own_sizes if asked == self._own_serving else None
            sum_ = budget(anatomy, asked, self.hardware, beside=self._beside(asked), asked=said)
        except Failure as failure:
            return Rung(candidate.precision, "refused", failure.message, asked, 0, 0, Budget(()), own=candidate.own)
        rung = Rung(candidate.precision, "unknown", "", asked, anatomy.weight_bytes, cache_of(sum_), sum_,
                    own=candidate.own, anatomy=anatomy, sized_by=self._sized_by(candidate.word))
        return rung if size_only else self._judged(rung, anatomy)

    @cached_property
    def _own_serving(self) -> Serving:
        from modelkit.engines.fitting import serving

        return serving(self.plan)

    @cached_property
    def _own_sizes(self) -> Sizes | None:
        """What llama.cpp itself says of the stage as it is; of what is only tried formulas say enough."""
        from modelkit.cli.fit.llama_asked import asked

        return asked(self, self._own_serving)

    def _judged(self, rung: Rung, anatomy: Anatomy) -> Rung:
        from modelkit.planning.fit.quality import quality
        from modelkit.planning.fit.speed import speed

        try:
            fast = speed(anatomy, rung.serving, self.hardware, calibration=self.calibration)
        except Failure:
            fast = None  # nobody knows how fast that hardware is
        return replace(rung, speed=fast, quality=quality(rung.precision, anatomy, imatrix=self.imatrix))

    def loaded(self, word: str) -> Anatomy:
        """The model as the engine loads it where QUANTIZE says `word`. Raises Failure for what can't be made."""
        if word not in self._made:
            self._made[word] = self._loaded(word)
        return self._made[word]

    @cached_property
    def _made(self) -> dict[str, Anatomy]:
        return {}

    def _loaded(self, word: str) -> Anatomy:
        base, own, row = self.anatomy, self.found.precision, PRECISIONS.get(word)
        made = word if row is not None and row.form != "any" and word != own else ""
        if self.found.wanted.form == "gguf":
            converted = _GGUF_OF.get(own, "") if base.form == "safetensors" else ""
            return self._in(base, made if row is not None and row.form == "gguf" and made else converted)
        plain = self._in(base, "BF16" if base.form == "gguf" else "")
        return self._in(plain, made if row is not None and row.form == "safetensors" else "")

    def _in(self, anatomy: Anatomy, precision: str) -> Anatomy:
        """In a precision, "" for its own."""
        if not precision:
            return anatomy
        from modelkit.planning.fit.quantized import quantized, typed

        dry = self.dry.get(precision) if anatomy is self.anatomy else None
        if dry is not None and dry.refused:
            raise Failure("precision-unknown", f"llama.cpp refuses to make {precision} of it: {dry.refused}")
        return quantized(anatomy, precision, imatrix=self.imatrix) if dry is None else \
            typed(anatomy, dry.types, precision)

    def _sized_by(self, word: str) -> str:
        """Who says what the weights take in a precision."""
        from modelkit.planning.fit.quantized import sized_by

        row = PRECISIONS.get(word)
        if row is None or row.form == "any" or word == self.found.precision:
            written = self.anatomy.form == "gguf" and self.found.wanted.form == "safetensors"
            return "the model's own headers" + (", its numbers written out in 16 bits" if written else "")
        return str(self.dry[word]) if word in self.dry else sized_by(word)

    @property
    def now(self) -> Candidate:
        """The precision that is planned."""
        said = self.plan.setting("quantize")
        word = str(said.value) if said is not None else "none"
        row = PRECISIONS.get(word)
        makes = row is not None and row.form in (self.found.wanted.form, "gguf")
        own = not makes or word == self.found.precision
        return Candidate(self.found.precision or "as it is", own=True) if own else Candidate(word)

    def candidate(self, rung: Rung) -> Candidate:
        return Candidate(rung.precision, own=rung.own)

    def unservable(self, word: str) -> str | None:
        """Why the engine, or the hardware, can't take weights of a precision."""
        from modelkit import engines
        from modelkit.engines.contained import must_be_made

        row = PRECISIONS.get(word)
        if row is None or row.form != self.found.wanted.form:
            return None  # as the base has it
        plan = with_setting(self.plan, "quantize", word)
        if word != "fp8" and must_be_made(plan) is not None:
            return "nobody makes it on the machines that the stage runs on"
        try:
            engines.presume_machine(plan)
        except Failure as failure:
            return failure.message.partition(" (")[0]
        return None

    @cached_property
    def calibration(self) -> Calibration | None:
        """What this machine's own benchmarks say of its speed, where it is this machine."""
        from modelkit.cli.fit.calibrating import known
        from modelkit.engines.fitting import serving

        return known(self.plan, serving(self.plan), self.hardware)

    def _beside(self, asked: Serving) -> tuple[Line, ...]:
        """What llama.cpp loads with the model: a projector, a draft, adapters; a small one's file says enough."""
        found, place = self.found, "gpu0" if self.hardware.devices else "ram"
        lines: list[Line] = []
        for name, one in (("projector", found.projector), ("draft", found.draft)):
            if one is not None:
                lines += _of_file(name, one, place, asked if name == "draft" else None)
        lines += [Line(f"adapter {one.name}", place, one.size, "the file's size", "file")
                  for one in self.plan.adapters if one.size]
        return tuple(lines)


def _of_file(name: str, weights: Weights, place: str, asked: Serving | None) -> Iterable[Line]:
    """Of a second model: its weights and, with the first one's serving, what it keeps and computes."""
    from modelkit.models import anatomy
    from modelkit.planning.fit.llama_cpp import beside_lines

    try:
        return [*beside_lines(anatomy.anatomy_of(weights), name, place, serving=asked)]
    except Failure:
        return [Line(f"{name} weights", place, weights.size, "the file's size", "file")]


def scale_of(plan: Plan, found: Found, store: Store, hardware: Hardware | None = None, *, ask: bool = True) -> Scale:
    """A stage's; on the hardware that it says, or that this is, unless another is given. Without `ask` a model that is
    not here is unknown.

    Raises Failure `model-unknown` or `hardware-unknown` where that is so, and for files that can't be read.
    """
    anatomy = anatomy_of(found, store) if ask or found.base is not None else None
    if anatomy is None:
        raise Failure("model-unknown", f"what {found.asked.text} is made of is not known yet",
                      hint=f"modelkit pull {plan.modelfile}")
    machine = hardware or hardware_of(plan)
    if machine is None:
        raise Failure("hardware-unknown", f"nothing says what stage `{plan.stage}` runs on",
                      hint="write `SERVE accelerator L4`, or ask `modelkit fit --hardware l4`")
    presume_built(plan.engine_name, machine)
    return Scale(computed_on(plan, machine), found, anatomy, machine, imatrix=found.wanted.imatrix is not None)


def anatomy_of(found: Found, store: Store) -> Anatomy | None:
    """Of the base: of the files that are here, else by range requests to where they are; None where nobody knows."""
    if (base := found.base) is not None:
        from modelkit.models import anatomy

        if (key := (base.path, base.digest)) not in _ANATOMIES:
            _ANATOMIES[key] = anatomy.anatomy_of(base)
        return _ANATOMIES[key]
    if found.artifact is None:
        return None
    from modelkit.models.anatomy.far import anatomy_far

    return anatomy_far(found.artifact, found.reference, store)


def asked_quantizer(scale: Scale) -> Scale:
    """The same scale, after llama.cpp's quantizer was asked, where it is installed and a GGUF is its base and here:
    then its own word stands behind every size. The first time takes a second."""
    found = scale.found
    if found.base is None or found.base.form != "gguf" or found.wanted.form != "gguf":
        return scale
    from pathlib import Path

    from modelkit.models.convert.dry_run import kept_dry_runs
    from modelkit.models.formats.splits import read_split
    from modelkit.planning.fit.ladder import LADDER
    from modelkit.runtime import environments

    if (tool := environments.find_tool("quantizer")) is None:
        return scale
    words = {*LADDER["gguf"], scale.now.precision}
    return replace(scale, dry=kept_dry_runs(read_split(Path(found.base.path)).parts, words, tool,
                                            imatrix=scale.imatrix))

"""How fast a model answers: always an interval, with what it is made of.

A step takes `t = t0 + bytes / bandwidth + operations / arithmetic` (on processors the larger of the last two), where
shares and `t0` are `rates`' and what is read and computed is `work`'s. One user's speed is `1 / t`, that of all is
`users / t`. Without measurements of the machine the interval is as wide as published ones scatter; with some
(`calibration`) it is what they leave open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from modelkit.models.anatomy import Anatomy
from modelkit.planning.fit.calibration import Calibration
from modelkit.planning.fit.hardware import Hardware
from modelkit.planning.fit.interval import Interval
from modelkit.planning.fit.rates import NOISE_CPU, SPREAD_CPU, SPREAD_GPU
from modelkit.planning.fit.serving import Serving
from modelkit.planning.fit.speed_words import how
from modelkit.planning.fit.steps import on_gpu, prompt_terms, step_terms
from modelkit.planning.fit.work import Step

PROMPT = 512
"""Tokens of the prompt that `prefill`, `ttft` and `total` are about, where nobody says another number."""


@dataclass(frozen=True)
class Speed:
    """Tokens a second, `ttft` in seconds. `how` says in words what each is made of."""

    decode: Interval  # of one user alone, at the beginning of a conversation
    decode_full: Interval  # of one user alone, at the end of the context
    total: Interval  # of all users at once, each behind a prompt
    user: Interval  # of one of them
    prefill: Interval  # of a prompt that is read alone
    ttft: Interval  # seconds until its first token, nothing else running
    users: int
    prompt: int  # tokens
    how: tuple[str, ...] = ()
    calibrated: bool = False  # by measurements of this machine


def speed(anatomy: Anatomy, serving: Serving, hardware: Hardware, *, calibration: Calibration | None = None,
          prompt: int = PROMPT) -> Speed | None:
    """What to expect; None where the hardware's bandwidth is not known, or it is no model that answers.

    `prompt` is how many tokens a usual question has.
    """
    if not knows(hardware, serving) or not anatomy.layers or serving.task != "chat":
        return None
    belief = calibration or uncalibrated(hardware, serving)
    prompt = max(1, min(prompt, serving.context_length))
    users = max(1, serving.concurrency)
    each = _of_each_copy(serving, users)
    alone, full = Step(1, 1, 0), Step(1, 1, max(0, serving.context_length - 1))
    first, last, all_ = (step_terms(anatomy, serving, hardware, one) for one in (alone, full, Step(each, 1, prompt)))
    read = prompt_terms(anatomy, serving, hardware, prompt)
    until = belief.seconds(read)
    together = belief.seconds(all_)
    return Speed(
        decode=_per_second(1, belief.seconds(first)), decode_full=_per_second(1, belief.seconds(last)),
        total=_per_second(users, together), user=_per_second(1, together), prefill=_per_second(prompt, until),
        ttft=until, users=users, prompt=prompt, calibrated=belief.points > 0,
        how=tuple(how(anatomy, serving, hardware, belief, prompt)))


def pace(anatomy: Anatomy, serving: Serving, hardware: Hardware, users: int, context: float, *,
         calibration: Calibration | None = None) -> Interval | None:
    """Tokens a second of all `users` while each has `context` tokens behind and none sends a prompt."""
    if not knows(hardware, serving):
        return None
    step = step_terms(anatomy, serving, hardware, Step(_of_each_copy(serving, users), 1, context))
    return _per_second(users, (calibration or uncalibrated(hardware, serving)).seconds(step))


def knows(hardware: Hardware, serving: Serving) -> bool:
    """Whether there is enough known of a machine to say anything."""
    if on_gpu(hardware, serving):
        return bool(hardware.gpu and hardware.gpu.bandwidth and hardware.gpu.flops)
    return hardware.cpu_bandwidth is not None


def uncalibrated(hardware: Hardware, serving: Serving) -> Calibration:
    """What is believed of a machine that nothing was measured on."""
    if on_gpu(hardware, serving):
        return Calibration.of(SPREAD_GPU)
    return Calibration.of(SPREAD_CPU, noise=NOISE_CPU)


def _of_each_copy(serving: Serving, users: int) -> int:
    """Copies of the model share the users."""
    return math.ceil(users / max(1, serving.data_parallel))


def with_users(serving: Serving, users: int) -> Serving:
    return replace(serving, concurrency=users)


def _per_second(tokens: int, seconds: Interval) -> Interval:
    return Interval(tokens / seconds.high, tokens / seconds.expected, tokens / seconds.low)

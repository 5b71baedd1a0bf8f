"""The likeliest next tokens of two models, compared."""

from __future__ import annotations

import math
from collections.abc import Mapping

Distribution = Mapping[str, float]
"""Log-probabilities (natural logarithm) of the likeliest tokens at one position; all others share what is left."""

_LEAST = 1e-9


def likeliest(said: Distribution) -> str:
    """The likeliest token; of equals the first in order, so that both sides choose alike."""
    return max(sorted(said), key=said.__getitem__) if said else ""


def divergence(left: Distribution, right: Distribution) -> float:
    """The Kullback-Leibler divergence of `right` from `left`, sum of p ln(p/q) in nats, from below.

    Only the likeliest tokens of both are known. Tokens that both name count as they are. Those that only the left
    names are one event, the rest another: putting events together never makes the divergence larger (the data
    processing inequality; T. M. Cover and J. A. Thomas, "Elements of Information Theory", 2.8). What the right gives
    to the first is unknown, but each of them has at most the probability of the least that the right names; the value
    that makes the divergence smallest is taken.
    """
    if not left or not right:
        return 0.0
    p, q = ({token: math.exp(value) for token, value in one.items()} for one in (left, right))
    both = p.keys() & q.keys()
    found = math.fsum(p[token] * (left[token] - right[token]) for token in both)
    only = [p[token] for token in p.keys() - both]
    free_left = max(0.0, 1 - math.fsum(p[token] for token in both))
    free_right = max(_LEAST, 1 - math.fsum(q[token] for token in both))
    named = min(math.fsum(only), free_left)
    most = min(free_right, len(only) * min(q.values()))
    if only and free_left > 0 and free_right * named / free_left > most:
        found += _term(named, max(most, _LEAST)) + _term(free_left - named, max(free_right - most, _LEAST))
    else:
        found += _term(free_left, free_right)
    return max(0.0, found)


def _term(p: float, q: float) -> float:
    return p * math.log(p / q) if p > 0 else 0.0

"""`QUANTIZE auto`: the precisions that a model could be served in, best first, and the first that does. Pure.

    candidates   which there are, of this base on this engine, and why some cannot be had
    climb        each weighed: taken, possible, or why not

The order of GGUF types is that of their mean Kullback-Leibler divergence on one model, Llama-3-8B over Wikitext
(llama.cpp's own table, tools/perplexity/README.md, without importance matrices but for those that need one). It is an
order of recipes on a model like that one; how much a recipe costs on another model is not known from it. Between GGUF
and vLLM's formats nobody has measured on one scale: the two are never mixed in one ladder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from modelkit.language.quantization import PRECISIONS
from modelkit.planning.fit.report import Rung, Verdict
from modelkit.planning.fit.sizes import between, spelled

Form = Literal["gguf", "safetensors"]

WHOLE = ("F32", "F16", "BF16", "float32", "float16", "bfloat16")
"""Precisions that nothing was rounded away from yet, as GGUF and as safetensors name them."""

_GGUF = ("BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q5_1", "Q5_0", "Q4_K_M", "Q4_K_S", "IQ4_NL", "IQ4_XS", "Q4_1",
         "Q4_0", "Q3_K_L", "Q3_K_M", "IQ3_M", "IQ3_S", "IQ3_XS", "IQ3_XXS", "Q3_K_S", "IQ2_M", "Q2_K_S", "IQ2_S",
         "Q2_K", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S")
_MEASURED_WITH_IMATRIX = frozenset(name for name in _GGUF if name.startswith("IQ")) | {"Q2_K_S"}
_SAFETENSORS = ("fp8", "int8", "w4a16")
LADDER: dict[Form, tuple[str, ...]] = {"gguf": _GGUF, "safetensors": _SAFETENSORS}
"""Words of QUANTIZE that `auto` may choose, best first. The base's own precision stands before all of them."""


@dataclass(frozen=True)
class Wish:
    """What `QUANTIZE auto` asks for: at least a precision, at least a speed of one user in tokens a second."""

    at_least: str | None = None
    tokens_per_second: float | None = None
    imatrix: bool = False

    def __str__(self) -> str:
        """As the Modelfile says it.

        >>> str(Wish("Q4_K_M", 30))
        'auto >= Q4_K_M speed >= 30 tok/s'
        """
        least = f" >= {self.at_least}" if self.at_least else ""
        speed = f" speed >= {self.tokens_per_second:g} tok/s" if self.tokens_per_second is not None else ""
        return f"auto{least}{speed}"


@dataclass(frozen=True)
class Candidate:
    """One precision; `refused` says why it can't be had, "" where it can."""

    precision: str
    own: bool = False
    refused: str = ""

    @property
    def word(self) -> str:
        """For QUANTIZE."""
        return "none" if self.own else self.precision


def candidates(form: Form, own: str, wish: Wish, unservable: Callable[[str], str | None]) -> tuple[Candidate, ...]:
    """What a base whose precision is `own` can be served as by an engine that loads `form`, best first.

    `unservable` says why an engine or its hardware can't take a precision. A base that is quantized already is only
    ever made coarser: what was rounded away does not come back. What vLLM gets of a GGUF is written out in 16 bits,
    and so may be made smaller again.
    """
    found = [Candidate(own, own=True, refused=unservable(own) or "")]
    for word in LADDER[form]:
        if word == own or not _coarser(word, own, form):
            continue
        found.append(Candidate(word, refused=_unmade(form, own, word, wish) or unservable(word) or ""))
    return tuple(found)


def _coarser(word: str, own: str, form: Form) -> bool:
    source = PRECISIONS.get(own)
    if own in ("F32", "float32"):
        return True
    return PRECISIONS[word].bits < (16 if own in WHOLE or source is None or source.form != form else source.bits)


def _unmade(form: Form, own: str, word: str, wish: Wish) -> str | None:
    """Why nobody makes it of this base."""
    if form == "safetensors":
        return None if own in WHOLE or (own in PRECISIONS and PRECISIONS[own].form == "gguf") else \
            f"the base is {own} already"
    if own not in WHOLE and own not in PRECISIONS:
        return f"the base is {own}, which llama.cpp's converter does not take apart"
    if PRECISIONS[word].needs_imatrix and not wish.imatrix:
        return "llama.cpp makes it with an importance matrix only"
    if word in _MEASURED_WITH_IMATRIX and not wish.imatrix:
        return "its quality was measured with an importance matrix only"
    return None


def below(word: str, floor: str, form: Form) -> str | None:
    """Why a precision is coarser than a floor, None when it is not. Of two families bits a weight are compared."""
    if word == floor:
        return None
    order = LADDER[form]
    if word in order and floor in order:
        return f"coarser than {floor}" if order.index(word) > order.index(floor) else None
    mine, least = _bits(word), _bits(floor)
    return f"{mine:g} bits a weight, and {floor} has {least:g}" if mine < least else None


def _bits(word: str) -> float:
    row = PRECISIONS.get(word) or next((one for name, one in PRECISIONS.items() if name.lower() == word.lower()), None)
    return row.bits if row is not None else 16.0 if word in WHOLE else 4.0


def climb(found: Iterable[Candidate], weigh: Callable[[Candidate], Rung], wish: Wish, form: Form, *,
          whole: bool = True) -> tuple[Rung, ...]:
    """Every candidate with its verdict; at most one is `taken`: the first that memory, floor and speed allow. Not the
    `whole` ladder is up to the one that is taken.

    What `weigh` refuses itself stays refused.
    """
    rungs: list[Rung] = []
    for one in found:
        rungs.append(_judged(one, weigh(one), rungs, wish, form))
        if rungs[-1].verdict == "taken" and not whole:
            break
    return tuple(rungs)


def _coarse(one: Candidate, before: list[Rung], wish: Wish, form: Form) -> str | None:
    """Why it is below the floor; what is made of a base below it is, too."""
    words = (one.precision, *(other.precision for other in before if other.own))
    found = (below(word, wish.at_least, form) for word in words) if wish.at_least else ()
    return next((why for why in found if why is not None), None)


def _judged(one: Candidate, rung: Rung, before: list[Rung], wish: Wish, form: Form) -> Rung:
    def said(verdict: Verdict, reason: str) -> Rung:
        return replace(rung, verdict=verdict, reason=reason)

    if one.refused or rung.verdict == "refused":
        return said("refused", one.refused or rung.reason)
    if (coarse := _coarse(one, before, wish, form)) is not None:
        return said("too-coarse", coarse)
    better = next((other for other in before if other.verdict != "refused" and 0 < other.weights <= rung.weights), None)
    if better is not None:
        why = "better" if form == "gguf" or better.own else "taken first"  # vLLM's were not measured on one scale
        return said("refused", f"no smaller than {better.precision}, which is {why}")
    if rung.fits is False:
        return said("too-large", shortage(rung))
    if rung.fits is None:
        return said("unknown", "how much memory there is, is not known")
    if (slow := _too_slow(rung, wish)) is not None:
        return said(*slow)
    taken = next((other for other in before if other.verdict == "taken"), None)
    if taken is None:
        return said("taken", _best(before) + _speed_words(rung))
    return said("fits", f"fits, too, and is coarser than {taken.precision}{_speed_words(rung)}")


def _best(before: Iterable[Rung]) -> str:
    return "the best that there is" if not any(one.verdict != "refused" for one in before) else \
        "the best that fits" if not any(one.verdict == "too-slow" for one in before) else "the best that is fast enough"


def _too_slow(rung: Rung, wish: Wish) -> tuple[Verdict, str] | None:
    if wish.tokens_per_second is None:
        return None
    if rung.speed is None:
        return "unknown", "how fast it would be is not known"
    decode = rung.speed.decode_full
    if decode.expected >= wish.tokens_per_second:
        return None
    likely = "too slow" if decode.high < wish.tokens_per_second else "probably too slow"
    return "too-slow", f"{likely}{_speed_words(rung)}, and {wish.tokens_per_second:g} are asked for"


def _speed_words(rung: Rung) -> str:
    if rung.speed is None:
        return ""
    return f": {between(rung.speed.decode_full)} tok/s behind {rung.serving.context_length} tokens"


def shortage(rung: Rung) -> str:
    """What is missing, where."""
    budget = rung.budget
    worst = min((place for place in budget.capacity if budget.free(place) is not None),
                key=lambda place: budget.free(place) or 0)
    return (f"needs {spelled(budget.total(worst))} of {place_words(worst)}, and there are "
            f"{spelled(budget.capacity[worst])}")


def place_words(place: str) -> str:
    """A budget's place as people say it."""
    return "memory" if place == "ram" else place.replace("gpu", "GPU ", 1)


def taken(rungs: Iterable[Rung]) -> Rung | None:
    return next((one for one in rungs if one.verdict == "taken"), None)


def considered(rungs: Iterable[Rung]) -> Iterator[Rung]:
    """Those that the Modelfile allows and somebody can make."""
    return (one for one in rungs if one.verdict not in ("refused", "too-coarse"))

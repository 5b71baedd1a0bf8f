"""Are two models the same one in other forms? Decided by headers and small files: no weights are read.

Headers can't tell one training of an architecture from another. They do tell two vocabularies, sizes or positions
apart, which is what goes wrong when a GGUF is paired with the wrong repository.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Union

from modelkit.failure import Failure
from modelkit.models.folder_traits import of_folder
from modelkit.models.formats.access import Access
from modelkit.models.formats.checkpoint import Files, local_files
from modelkit.models.formats.gguf_reader import read_header_from
from modelkit.models.formats.splits import Split, joined, read_split
from modelkit.models.traits import Scaling, Shape, Traits, of_gguf, plain

if TYPE_CHECKING:
    from modelkit.models.weights import Weights

Model = Union["Weights", Path, Access, tuple[Access, ...], Files]
"""Weights, a path to either form, a GGUF file that is far away or the parts of a split one, or a folder that is."""

_ARCHITECTURES = {  # llama.cpp's name: what `config.json` may call it
    "llama": ("llama", "mistral", "mixtral"), "mistral3": ("mistral3", "ministral3", "mistral"), "qwen2": ("qwen2",),
    "qwen2moe": ("qwen2_moe",), "qwen3": ("qwen3",), "qwen3moe": ("qwen3_moe",), "gemma": ("gemma",),
    "gemma2": ("gemma2",), "gemma3": ("gemma3", "gemma3_text"), "phi3": ("phi3",), "command-r": ("cohere",)}
_BY_TOKEN = ("model.embed_tokens.weight", "lm_head.weight")
_LENIENT = {"context length": "how long a conversation may be by default"}
_SHOWN = 5


@dataclass(frozen=True)
class Difference:
    """One thing in which two models differ. `severe`: they would compute, read or write something else."""

    aspect: str
    left: str
    right: str
    meaning: str
    severe: bool = True


def compare(left: Model, right: Model) -> tuple[Difference, ...]:
    """Every difference between two models, those that matter most first. Raises Failure for what can't be read."""
    ours, theirs = _traits(left), _traits(right)
    found = [*_shapes(ours, theirs), *_vocabularies(ours, theirs), *_roles(ours, theirs), *_templates(ours, theirs)]
    return tuple(sorted(found, key=lambda one: not one.severe))


def presume_same(left: Model, right: Model) -> None:
    """Raise Failure `not-the-same-model` with the list of differences if there are severe ones."""
    found = [one for one in compare(left, right) if one.severe]
    if found:
        names = [_traits_name(one) for one in (left, right)]
        raise Failure("not-the-same-model", f"{names[0]} and {names[1]} are not the same model: "
                      f"{', '.join(one.aspect for one in found[:_SHOWN])} {'differs' if len(found) == 1 else 'differ'}",
                      "name the GGUF that was made from this repository, or let modelkit convert one form to the other",
                      tuple(f"{one.aspect}: {one.left} and {one.right}; {one.meaning}" for one in found),
                      data={"differences": [one.aspect for one in found]})


def _traits(model: Model) -> Traits:
    from modelkit.models.weights import Weights

    if isinstance(model, Weights):
        model = Path(model.path)
    if isinstance(model, Files):
        return of_folder(model)
    if isinstance(model, Path):
        return of_folder(local_files(model)) if model.is_dir() else of_gguf(read_split(model))
    headers = tuple(read_header_from(part) for part in (model if isinstance(model, tuple) else (model,)))
    return of_gguf(joined(headers) if len(headers) > 1 else Split(headers))


def _traits_name(model: Model) -> str:
    if isinstance(model, tuple):
        model = model[0]
    return str(getattr(model, "reference", None) or getattr(model, "name", model))


def _shapes(left: Traits, right: Traits) -> Iterator[Difference]:
    known = [_ARCHITECTURES.get(one.architecture, ()) if one.form == "gguf" else (one.architecture,)
             for one in (left, right)]
    if left.form == right.form:
        known = [(left.architecture,), (right.architecture,)]
    if all(known) and not set(known[0]) & set(known[1]):
        yield Difference("architecture", left.architecture, right.architecture, "another computation")
    for name, one in left.numbers.items():
        other = right.numbers.get(name)
        if one is not None and other is not None and not math.isclose(one, other, rel_tol=1e-5):
            yield Difference(name, f"{one:g}", f"{other:g}", _LENIENT.get(name, "another computation"),
                             name not in _LENIENT)
    if not _scaled_alike(left.scaling, right.scaling):
        yield Difference("rope scaling", _shown_scaling(left.scaling), _shown_scaling(right.scaling),
                         "positions mean something else")
    if left.tied is not None and right.tied is not None and left.tied != right.tied:
        words = {True: "the embedding again", False: "an output of its own"}
        yield Difference("tied embeddings", words[left.tied], words[right.tied], "another last step")
    yield from _tensors(left, right)


def _tensors(left: Traits, right: Traits) -> Iterator[Difference]:
    ours: Mapping[str, Shape] | None = left.tensors
    theirs: Mapping[str, Shape] | None = right.tensors
    if left.form == right.form == "gguf":
        ours, theirs = left.stored, right.stored
    if ours is None or theirs is None:
        name = (left if ours is None else right).architecture
        yield Difference("tensors", left.architecture, right.architecture,
                         f"not compared: Hugging Face's names for the tensors of `{name}` are not known", severe=False)
        return
    if left.tied is None or right.tied is None:  # an output that is the embedding may be written down or not
        ours, theirs = ({name: shape for name, shape in one.items() if not name.endswith("lm_head.weight")}
                        for one in (ours, theirs))
    elif left.tied != right.tied:
        ours, theirs = ({name: shape for name, shape in one.items()
                         if name not in ("lm_head.weight", "output.weight")} for one in (ours, theirs))
    words = max(max((number for number in one.tokens if number not in one.filling), default=0) + 1
                for one in (left, right))
    other = sorted(name for name in ours.keys() & theirs.keys() if not _fit(name, ours[name], theirs[name], words))
    if other:
        yield Difference("tensor shapes", _some(f"{name} {list(ours[name])}" for name in other),
                         _some(f"{name} {list(theirs[name])}" for name in other), "another computation")
    if ours.keys() != theirs.keys():
        yield Difference("tensors", _some(sorted(ours.keys() - theirs.keys()), "only here: "),
                         _some(sorted(theirs.keys() - ours.keys()), "only here: "), "another computation")


def _fit(name: str, left: Shape, right: Shape, words: int) -> bool:
    """Are they one shape? A packed one is not known; rows for no token may be left out of an embedding."""
    if not left or not right or plain(left) == plain(right):
        return True
    return (name in _BY_TOKEN and len(left) == len(right) == 2 and left[1] == right[1]
            and min(left[0], right[0]) >= words)


def _vocabularies(left: Traits, right: Traits) -> Iterator[Difference]:
    filling = left.filling | right.filling
    other = [number for number in sorted(left.tokens.keys() | right.tokens.keys())
             if not _spelled_alike(number, left.tokens.get(number), right.tokens.get(number), number in filling)]
    if other:
        yield Difference("vocabulary", _words(left, other), _words(right, other), "token ids mean other texts")
    if left.merges is not None and right.merges is not None and left.merges != right.merges:
        place = next((place for place, (one, two) in enumerate(zip(left.merges, right.merges, strict=False))
                      if one != two), min(len(left.merges), len(right.merges)))
        yield Difference("merges", _rule(left.merges, place), _rule(right.merges, place),
                         "texts are cut into other tokens")


def _spelled_alike(number: int, left: str | None, right: str | None, filling: bool) -> bool:
    """Are they one text, in the spellings that conversion to GGUF changes: a space as `▁`, an empty text by its number?

    What only fills a vocabulary up need not be in the other one.
    """
    if left == right:
        return True
    if left is None or right is None:
        return filling
    return left.replace("▁", " ") == right.replace("▁", " ") or {left, right} == {"", f"[EMPTY_{number}]"}


def _roles(left: Traits, right: Traits) -> Iterator[Difference]:
    meanings = {"bos": ("prompts begin otherwise", True), "eos": ("answers end elsewhere", True),
                "pad": ("only how batches are filled", False), "unk": ("what stands for unknown text", False)}
    for role, (meaning, severe) in meanings.items():
        ours, theirs = left.special.get(role), right.special.get(role)
        if ours and theirs and not ours & theirs:
            yield Difference(f"{role} token", _ids(left, ours), _ids(right, theirs), meaning, severe)
    for one, two in ((left, right), (right, left)):
        eot, ends = one.special.get("eot"), two.special.get("ends", frozenset()) | two.special.get("eot", frozenset())
        if eot and ends and not eot & ends:
            yield Difference("eot token", _ids(left, eot if one is left else ends),
                             _ids(right, ends if one is left else eot), "answers may end later", severe=False)
    if left.begins is not None and right.begins is not None and left.begins != right.begins:
        words = {True: "put before every prompt", False: "not put before prompts"}
        yield Difference("bos rule", words[left.begins], words[right.begins], "prompts begin otherwise")


def _templates(left: Traits, right: Traits) -> Iterator[Difference]:
    if bool(left.templates) != bool(right.templates) or (
            left.templates and not set(left.templates) & set(right.templates)):
        yield Difference("chat template", left.templates[0] if left.templates else "none",
                         right.templates[0] if right.templates else "none",
                         "conversations are written otherwise, unless the Modelfile has its own template", severe=False)


def _scaled_alike(left: Scaling | None, right: Scaling | None) -> bool:
    if left is None or right is None:
        return True
    if left[0] != right[0]:
        return False
    if left[0] == "yarn":  # the trained length is not in every GGUF
        left, right = left[:min(len(left), len(right))], right[:min(len(left), len(right))]
    return len(left) == len(right) and all(
        math.isclose(one, two, rel_tol=1e-3) for one, two in zip(left[1:], right[1:], strict=True)
        if isinstance(one, float | int) and isinstance(two, float | int))


def _shown_scaling(scaling: Scaling | None) -> str:
    return "not said" if scaling is None else " ".join(
        one if isinstance(one, str) else f"{one:g}" for one in scaling[:4]) + (" …" if len(scaling) > 4 else "")


def _words(model: Traits, numbers: list[int]) -> str:
    shown = [f"{number}: {model.tokens[number]!r}" if number in model.tokens else f"{number}: none"
             for number in numbers[:_SHOWN]]
    return f"{len(model.tokens):,} tokens, {', '.join(shown)}" + (
        f" and {len(numbers) - _SHOWN:,} more" if len(numbers) > _SHOWN else "")


def _rule(rules: list[str], place: int) -> str:
    return f"{len(rules):,} rules, rule {place} is {rules[place] if place < len(rules) else 'none'}"


def _ids(model: Traits, numbers: frozenset[int]) -> str:
    return ", ".join(f"{number} {model.tokens.get(number, '?')}" for number in sorted(numbers))


def _some(names: Iterator[str] | list[str], before: str = "") -> str:
    shown = list(names)
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return before + ", ".join(shown[:_SHOWN]) + more if shown else "none"

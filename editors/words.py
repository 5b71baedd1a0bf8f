"""The language's words as patterns for editors. Everything here is read from the tables of `modelkit.language`."""

from __future__ import annotations

import re
from collections.abc import Iterable

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.instructions import INSTRUCTIONS, Place
from modelkit.language.kinds import Boolean, Choice, Kind, Text
from modelkit.language.lexer import ROLES, WORDS, Shape
from modelkit.language.metrics import METRICS, OPERATORS
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import AUTO, PRECISIONS, SHORT
from modelkit.language.serve import SERVE_KEYS

PLACES: tuple[Place, ...] = ("file", "stage", "test")
BLOCKS = tuple(word for word, shape in WORDS.items() if shape is Shape.BLOCK)
TEXT_PARAMETERS = tuple(name for name, row in PARAMETERS.items() if isinstance(row.kind, Text))
OTHER_PARAMETERS = tuple(name for name in PARAMETERS if name not in TEXT_PARAMETERS)
GONE_PARAMETERS = (*DEPRECATED, *REMOVED)
PRECISION_WORDS = (*PRECISIONS, *SHORT, AUTO)
AUTO_WORDS = ("speed", "imatrix")
UNSETTABLE = tuple(row.keyword for row in INSTRUCTIONS.values() if row.unset)

LISTS: dict[str, tuple[str, ...]] = {
    "parameters": tuple(PARAMETERS), "deprecated": DEPRECATED, "removed": tuple(REMOVED), "roles": ROLES,
    "precisions": PRECISION_WORDS, "engines": tuple(ENGINES), "platforms": tuple(PLATFORMS),
    "serve keys": tuple(SERVE_KEYS), "policies": tuple(POLICIES), "metrics": tuple(METRICS),
    "assertions": tuple(ASSERTIONS), "operators": tuple(OPERATORS),
}
"""Every list of words that an editor may colour, besides the instructions."""


def instructions(place: Place) -> tuple[str, ...]:
    """The instructions that may stand there, blocks left out."""
    return tuple(row.keyword for row in INSTRUCTIONS.values() if place in row.where and row.keyword not in BLOCKS)


def misplaced(place: Place) -> tuple[str, ...]:
    """The instructions and blocks that may stand elsewhere only."""
    return tuple(row.keyword for row in INSTRUCTIONS.values() if place not in row.where)


def alternatives(words: Iterable[str]) -> str:
    """A pattern of any of the words, the long ones first: `llama-server|vllm`.

    >>> alternatives(["Q4_K", "Q4_K_M", "llama.cpp"])
    'llama\\\\.cpp|Q4_K_M|Q4_K'
    """
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))


def constants(kind: Kind) -> tuple[str, ...]:
    """The words that a value of this kind can be; none where it is not a word of a list."""
    if isinstance(kind, Choice):
        return kind.words
    return ("true", "false") if isinstance(kind, Boolean) else ()

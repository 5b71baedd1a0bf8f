"""Which characters survive reading, and how wide they stand in a terminal. Knows code points, not syntax."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# Printable since Unicode 15.0, the version Ollama is built with; Python 3.11 still has 14.0 and calls them unassigned.
_SINCE_15 = (
    (0xCF3, 0xCF3), (0xECE, 0xECE), (0x10EFD, 0x10EFF), (0x1123F, 0x11241), (0x11B00, 0x11B09), (0x11F00, 0x11F10),
    (0x11F12, 0x11F3A), (0x11F3E, 0x11F59), (0x1342F, 0x1342F), (0x13440, 0x13455), (0x1B132, 0x1B132),
    (0x1B155, 0x1B155), (0x1D2C0, 0x1D2D3), (0x1DF25, 0x1DF2A), (0x1E030, 0x1E06D), (0x1E08F, 0x1E08F),
    (0x1E4D0, 0x1E4F9), (0x1F6DC, 0x1F6DC), (0x1F774, 0x1F776), (0x1F77B, 0x1F77F), (0x1F7D9, 0x1F7D9),
    (0x1FA75, 0x1FA77), (0x1FA87, 0x1FA88), (0x1FAAD, 0x1FAAF), (0x1FABB, 0x1FABD), (0x1FABF, 0x1FABF),
    (0x1FACE, 0x1FACF), (0x1FADA, 0x1FADB), (0x1FAE8, 0x1FAE8), (0x1FAF7, 0x1FAF8), (0x2B739, 0x2B739),
    (0x31350, 0x323AF),
)  # fmt: skip

_UNUSUAL = re.compile(r"[^\x20-\x7e\t\r\n]")
_VS16 = "\ufe0f"


@lru_cache(maxsize=4096)
def is_printable(character: str) -> bool:
    """True for letters, marks, numbers, punctuation, symbols and the plain space: what Go's IsPrint keeps."""
    category = unicodedata.category(character)
    if category == "Cn":
        point = ord(character)
        return any(first <= point <= last for first, last in _SINCE_15)
    return category[0] in "LMNPS" or character == " "


def is_kept(character: str) -> bool:
    """True for what stays in a value: the printable, tabs and line ends."""
    return character in "\t\r\n" or is_printable(character)


def clean(text: str) -> str:
    """`text` without the characters that reading a Modelfile deletes.

    >>> clean("a\\u00a0b\\tc")
    'ab\\tc'
    """
    return _UNUSUAL.sub(_kept, text)


def _kept(found: re.Match[str]) -> str:
    return found[0] if is_printable(found[0]) else ""


def deleted(text: str) -> list[tuple[int, str]]:
    """The characters that `clean` takes away, each with its index."""
    return [(m.start(), m[0]) for m in _UNUSUAL.finditer(text) if not is_printable(m[0])]


def describe(character: str) -> str:
    """`U+200D ZERO WIDTH JOINER`."""
    name = unicodedata.name(character, "") or _CONTROLS.get(character, "")
    return f"U+{ord(character):04X} {name}".rstrip()


_CONTROLS = {"\0": "NULL", "\x0b": "VERTICAL TAB", "\x0c": "FORM FEED", "\x1b": "ESCAPE", "\x7f": "DELETE"}


def width(character: str) -> int:
    """How many terminal columns one character takes; a tab is the caller's business.

    >>> [width(c) for c in "a语\\u0301"]
    [1, 2, 0]
    """
    if character in _CONTROLS or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 1 if character in _CONTROLS or character == "\u00ad" else 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1

"""The kinds of value that an operand can be: how a text is read, what range it must lie in, what to say if not.

Numbers and booleans are read exactly as Ollama (Go's strconv) reads them, so that a file means the same in both.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple, Protocol

Scalar = bool | int | float | str


class Wrong(NamedTuple):
    """Why a text is no value of a kind: what it must be, and the text that was probably meant."""

    must_be: str
    instead: str | None = None


class Kind(Protocol):
    """One kind of operand. `read` never raises; `says` is the kind in words, as the reference prints it."""

    @property
    def says(self) -> str: ...

    def read(self, text: str) -> Scalar | Wrong: ...


_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9](_?[0-9])*(\.([0-9](_?[0-9])*)?)?|\.[0-9](_?[0-9])*)([eE][+-]?[0-9](_?[0-9])*)?")
_HEXADECIMAL = re.compile(r"[+-]?0[xX]_?[0-9a-fA-F_]*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+")
_HUGE = 2**31 - 1
_THOUSANDS = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3}


class Whole(NamedTuple):
    """A base-10 integer (Go's ParseInt): no separators, no exponents, no suffixes."""

    low: int | None = None
    high: int | None = None
    also: tuple[int, ...] = ()  # values outside the range that mean something, such as -1

    @property
    def says(self) -> str:
        return _comma("a whole number", self._bounds)

    @property
    def _bounds(self) -> str:
        high = self.high if self.high is None or self.high < _HUGE else None  # a bound that nobody meets says nothing
        return _comma(_range(self.low, high), " ".join(f"or {value}" for value in self.also))

    def read(self, text: str) -> int | Wrong:
        # Twenty digits are beyond every range already; reading no more keeps int() from doing quadratic work.
        if not _WHOLE.fullmatch(text):
            return Wrong(self.says, self._meant(text))
        value = int(text[:21])
        if value in self.also or _within(value, self.low, self.high):
            return value
        return Wrong(f"at most {self.high}" if self.high is not None and value > self.high else self._bounds)

    def _meant(self, text: str) -> str | None:
        plain = without_comment(text).replace("_", "").replace(",", "")
        match = re.fullmatch(r"([+-]?[0-9]{1,15})(?:\.0*)?\s*([kKmMgG]?)(?:i?[bB])?", plain)
        if match:
            return self._if_good(int(match[1]) * _THOUSANDS[match[2].lower()])
        if re.fullmatch(r"0[xX][0-9a-fA-F]{1,15}", plain):
            return self._if_good(int(plain, 16))
        if re.fullmatch(r"[0-9.]{1,9}[eE][0-9]", plain) and plain.count(".") < 2 and plain[0] != ".":
            return self._if_good(int(float(plain)))
        return None

    def _if_good(self, value: int) -> str | None:
        return str(value) if value in self.also or _within(value, self.low, self.high) else None


class Real(NamedTuple):
    """A finite floating-point number (Go's ParseFloat, hexadecimal floats included)."""

    low: float | None = None
    high: float | None = None
    above_low: bool = False  # the low end itself is outside

    @property
    def says(self) -> str:
        return _comma("a number", _range(self.low, self.high, self.above_low))

    def read(self, text: str) -> float | Wrong:
        value = go_float(text)
        if value is None:
            return Wrong(self.says, self._meant(text))
        if not math.isfinite(value):
            return Wrong(self.says)
        if not _within(value, self.low, self.high, self.above_low):
            return Wrong(_range(self.low, self.high, self.above_low))
        return value

    def _meant(self, text: str) -> str | None:
        plain = without_comment(text).rstrip("fF")
        percent = plain.removesuffix("%")
        plain = plain if "." in plain else plain.replace(",", ".")
        if percent != plain and (share := go_float(percent)) is not None and _within(share / 100, self.low, self.high):
            return f"{share / 100:g}"
        value = go_float(plain)
        return plain if value is not None and _within(value, self.low, self.high, self.above_low) else None


def go_float(text: str) -> float | None:
    """What Go's ParseFloat makes of a text, None if it refuses it. `inf` and `nan` are numbers to Go."""
    if len(text) > 400:
        return None
    if _DECIMAL.fullmatch(text) or re.fullmatch(r"[+-]?inf(inity)?|nan", text, re.IGNORECASE):
        return float(text)
    if _HEXADECIMAL.fullmatch(text):
        try:
            return float.fromhex(text.replace("_", ""))
        except (ValueError, OverflowError):
            return None
    return None


class Boolean(NamedTuple):
    """`true` or `false`, and Go's other spellings: 1 t T TRUE True, 0 f F FALSE False."""

    says: str = "`true` or `false`"

    def read(self, text: str) -> bool | Wrong:
        if text in ("1", "t", "T", "TRUE", "true", "True"):
            return True
        if text in ("0", "f", "F", "FALSE", "false", "False"):
            return False
        plain = without_comment(text).lower()
        if plain in ("true", "yes", "on", "y", "enable", "enabled"):
            return Wrong(self.says, "true")
        if plain in ("false", "no", "off", "n", "disable", "disabled"):
            return Wrong(self.says, "false")
        return Wrong(self.says)


class Text(NamedTuple):
    """Any text but the empty one."""

    says: str = "a text"

    def read(self, text: str) -> str | Wrong:
        return text if text else Wrong("a text, not empty")


class Word(NamedTuple):
    """One word: `pattern` is matched in full, `says` names what it stands for."""

    says: str
    pattern: str = r"[A-Za-z0-9][A-Za-z0-9._-]*"

    def read(self, text: str) -> str | Wrong:
        if re.fullmatch(self.pattern, text):
            return text
        plain = without_comment(text)
        return Wrong(self.says, plain if plain != text and re.fullmatch(self.pattern, plain) else None)


class Choice(NamedTuple):
    """One word of a list; any case is read, the canonical spelling is what comes out."""

    words: tuple[str, ...]

    @property
    def says(self) -> str:
        return one_of(self.words)

    def read(self, text: str) -> str | Wrong:
        by_fold = {word.lower(): word for word in self.words}
        if (word := by_fold.get(text.lower())) is not None:
            return word
        return Wrong(self.says, by_fold.get(without_comment(text).lower()))


class Duration(NamedTuple):
    """A time with a unit (`500ms`, `5m`, `1h30m`), read as seconds."""

    bare: bool = False  # a number alone is seconds, and a negative one means for ever, as in Ollama's keep_alive

    @property
    def says(self) -> str:
        return "a duration such as `5m` or `500ms`" + (", seconds, or -1 for ever" if self.bare else "")

    def read(self, text: str) -> float | Wrong:
        value = seconds(text)
        if value is None and self.bare and re.fullmatch(r"[+-]?[0-9]{1,12}", text):
            value = float(text)
        if value is None:
            plain = without_comment(text).replace(" ", "").lower()
            plain = f"{plain}ms" if re.fullmatch(r"[0-9]{1,9}", plain) and plain != "0" else plain
            return Wrong(self.says, plain if plain != text and seconds(plain) is not None else None)
        return value if self.bare or value >= 0 else Wrong(self.says)


class Share(NamedTuple):
    """A part of a whole, `0.9` or `90%`, read as a fraction."""

    low: float = 0.0
    high: float = 1.0
    above_low: bool = False

    @property
    def says(self) -> str:
        least = "above" if self.above_low else "from"
        return f"a share {least} {_plain(self.low)} to {_plain(self.high)}, such as `0.9` or `90%`"

    def read(self, text: str) -> float | Wrong:
        number = go_float(text.removesuffix("%").rstrip())
        if number is None or not math.isfinite(number):
            return Wrong(self.says)
        value = number / 100 if text.endswith("%") else number
        if _within(value, self.low, self.high, self.above_low):
            return value
        return Wrong(self.says, f"{number:g}%" if _within(number / 100, self.low, self.high, self.above_low) else None)


class Size(NamedTuple):
    """An amount of memory (`1.5GB`, `800MiB`), read as bytes."""

    says: str = "a size such as `1.5GB` or `800MiB`"

    def read(self, text: str) -> float | Wrong:
        match = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kKmMgGtT])(i?)[bB]", text)
        if match is None:
            return Wrong(self.says)
        power = "kmgt".index(match[2].lower()) + 1
        return float(match[1]) * float((1024 if match[3] else 1000) ** power)


class SecretReference(NamedTuple):
    """Where a secret is kept. A secret itself is never a value."""

    says: str = "`env:NAME` or `file:path`"

    def read(self, text: str) -> str | Wrong:
        if re.fullmatch(r"env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*", text):
            return text
        return Wrong(self.says)


def seconds(text: str) -> float | None:
    """A Go-like duration in seconds: `1h30m`, `1.5s`, `-5m`; `0` needs no unit."""
    if text in ("0", "+0", "-0"):
        return 0.0
    if not re.fullmatch(r"[+-]?([0-9]{1,12}(\.[0-9]{1,12})?(ms|us|h|m|s))+", text):
        return None
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
    parts = re.findall(r"([0-9.]+)(ms|us|h|m|s)", text)
    total = math.fsum(float(number) * units[unit] for number, unit in parts)
    return -total if text.startswith("-") else total


def without_comment(text: str) -> str:
    """A text as it would be if Modelfiles had comments at the end of a line: they do not, but people write them."""
    return re.split(r"\s#", text, maxsplit=1)[0].strip().strip("\"'")


def one_of(words: tuple[str, ...] | list[str]) -> str:
    """`a`, `b` or `c`."""
    quoted = [f"`{word}`" for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"


def _within(value: float, low: float | None, high: float | None, above_low: bool = False) -> bool:
    if low is not None and (value <= low if above_low else value < low):
        return False
    return high is None or value <= high


def _range(low: float | None, high: float | None, above_low: bool = False) -> str:
    if low is None:
        return "" if high is None else f"at most {_plain(high)}"
    if above_low:
        return f"greater than {_plain(low)}" + ("" if high is None else f" and at most {_plain(high)}")
    return f"at least {_plain(low)}" if high is None else f"from {_plain(low)} to {_plain(high)}"


def _comma(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)

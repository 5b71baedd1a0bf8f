"""An engine's words as the keyword arguments that Ray Serve LLM takes for it: Python names, typed values.

Ray hands them to vLLM without its command line's parser, so what that would have done to a word is done here, as the
version's flag table says: numbers, JSON, lists, negations.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from modelkit.engines.flags import Flag, FlagTable
from modelkit.engines.word import Word
from modelkit.failure import Failure


def arguments(words: Iterable[Word], table: FlagTable) -> dict[str, Any]:
    """The flags among `words` by the names of their arguments; a later word wins over an earlier one.

    What an engine's own file says and this version lacks is left out. Raises Failure for a word of the author's that
    has no argument, or not that value.
    """
    found: dict[str, Any] = {}
    last: Flag | None = None
    for word in words:
        if word.is_variable:
            continue
        if not word.flag:  # one more value of the flag before it, or the model
            if last is not None and _is_list(last) and word.value is not None:
                found[_name(last)] += _several(word.value)
            continue
        name, equals, inline = word.flag.partition("=")
        value = inline if equals else word.value
        last = table.by_word.get(name)
        if last is not None:
            found[_name(last)] = _value(word, last, name, value)
        elif word.origin.kind != "engine":
            raise _unfit(word, f"{table.engine} {table.version} has no argument for it",
                         "write the whole value as JSON" if "." in name else None)
    return found


def _name(flag: Flag) -> str:
    return flag.flag.removeprefix("--").replace("-", "_")


def _is_list(flag: Flag) -> bool:
    return flag.nargs in ("+", "*") or isinstance(flag.default, list)


def _several(value: str | tuple[str, ...]) -> list[str]:
    return list(value) if isinstance(value, tuple) else [value]


def _value(word: Word, flag: Flag, name: str, value: str | tuple[str, ...] | None) -> Any:
    if name in flag.negations or flag.type == "bool":
        truth = str(value).lower() not in ("false", "0", "no") if value is not None else True
        return truth != (name in flag.negations)
    if value is None:
        raise _unfit(word, "it wants a value", None)
    if _is_list(flag):
        return _several(value)
    text = " ".join(_several(value))
    try:
        return _typed(text, flag)
    except ValueError:
        raise _unfit(word, f"`{text}` is not {_WANTED.get(flag.type, 'JSON')}", None) from None


_WANTED: Mapping[str, str] = {"int": "a whole number", "float": "a number"}


def _typed(text: str, flag: Flag) -> Any:
    if flag.type == "int":
        return int(text)
    if flag.type == "float":
        return float(text)
    if flag.type == "json" or isinstance(flag.default, dict):
        return json.loads(text)
    return text


def _unfit(word: Word, why: str, hint: str | None) -> Failure:
    where = f" ({word.origin.where})" if word.origin.where else ""
    return Failure("flag-not-on-ray", f"`FLAG {word.flag}`{where} cannot be said to Ray Serve: {why}",
                   hint=hint or "drop it from this stage, or choose another PLATFORM")

"""What one field of a request may hold. A check takes a JSON value and returns its normal form, or raises."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from modelkit.contract.errors import ContractError, invalid, unsupported, wrong_type
from modelkit.contract.profile import Limits
from modelkit.contract.schemas import problem

Check = Callable[[Any, str, Limits], Any]
"""(value, the field's path, limits) to the value's normal form. Never called with null: null means absent."""

NESTING = 64
"""Levels of objects and lists in a JSON schema: vLLM's own limit."""


def number(low: float, high: float, *, above_low: bool = False) -> Check:
    """A number from `low` to `high`; with `above_low`, greater than `low`."""
    bounds = f"greater than {low:g} and at most {high:g}" if above_low else f"from {low:g} to {high:g}"

    def check(value: Any, param: str, limits: Limits) -> Any:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise wrong_type(param, "a number", value)
        if not low <= value <= high or (above_low and value == low):
            raise invalid(param, f"`{param}` is {shown(value)}; it must be {bounds}")
        return value

    return check


def integer(low: int, high: int | None = None) -> Check:
    """An integer from `low`, to `high` if there is one."""
    bounds = f"at least {low}" if high is None else f"from {low} to {high}"

    def check(value: Any, param: str, limits: Limits) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise wrong_type(param, "an integer", value)
        if value < low or (high is not None and value > high):
            raise invalid(param, f"`{param}` is {shown(value)}; it must be {bounds}")
        return value

    return check


def up_to(limit: str, low: int) -> Check:
    """An integer from `low` to one of the profile's limits."""

    def check(value: Any, param: str, limits: Limits) -> Any:
        return integer(low, getattr(limits, limit))(value, param, limits)

    return check


def boolean(value: Any, param: str, limits: Limits) -> bool:
    if not isinstance(value, bool):
        raise wrong_type(param, "true or false", value)
    return value


def text(value: Any, param: str, limits: Limits) -> str:
    if not isinstance(value, str):
        raise wrong_type(param, "a string", value)
    return value


def mapping(value: Any, param: str, limits: Limits) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise wrong_type(param, "an object", value)
    return value


def one_of(*words: str) -> Check:
    """One of a few strings."""
    known = ", ".join(f"`{w}`" for w in words)

    def check(value: Any, param: str, limits: Limits) -> Any:
        if not isinstance(value, str):
            raise wrong_type(param, "a string", value)
        if value not in words:
            raise invalid(param, f"`{param}` is {shown(value)}; it must be one of {known}")
        return value

    return check


def top_k(value: Any, param: str, limits: Limits) -> int:
    """The tokens to choose from; -1 and 0 both mean all of them, and become 0."""
    return max(0, int(integer(-1, 2**31 - 1)(value, param, limits)))


def stop(value: Any, param: str, limits: Limits) -> list[str]:
    """A string or a list of them becomes a list; an empty list means that nothing stops the answer."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list):
        raise wrong_type(param, "a string or a list of strings", value)
    if len(words) > limits.stop:
        raise invalid(param, f"`{param}` has {len(words)} strings; it may have {limits.stop}")
    for index, word in enumerate(words):
        place = param if words is not value else f"{param}[{index}]"
        if not isinstance(word, str):
            raise wrong_type(place, "a string", word)
        if not word:
            raise invalid(place, f"`{place}` is empty; a stop string has at least one character")
        if len(word) > limits.stop_length:
            raise invalid(place, f"`{place}` has {len(word)} characters; it may have {limits.stop_length}")
    return words


def logit_bias(value: Any, param: str, limits: Limits) -> dict[str, float]:
    """Token ids, as strings, to biases from -100 to 100."""
    biases = mapping(value, param, limits)
    if len(biases) > limits.logit_bias:
        raise invalid(param, f"`{param}` has {len(biases)} entries; it may have {limits.logit_bias}")
    bias = number(-100, 100)
    for token in biases:
        if not re.fullmatch(r"[0-9]{1,9}", token):
            raise invalid(param, f"`{param}` has the key {shown(token)}; its keys are token ids")
        bias(biases[token], f"{param}.{token}", limits)
    return biases


def stream_options(value: Any, param: str, limits: Limits) -> dict[str, bool]:
    """`include_usage` alone: `include_obfuscation` asks for noise that no engine here adds."""
    options = mapping(value, param, limits)
    for name, option in options.items():
        if name not in ("include_usage", "include_obfuscation"):
            raise unknown(f"{param}.{name}", name, ("include_usage",))
        if option is not None:
            boolean(option, f"{param}.{name}", limits)
    return {"include_usage": bool(options.get("include_usage"))}


def modalities(value: Any, param: str, limits: Limits) -> list[str]:
    if value != ["text"]:
        raise unsupported(param, f'`{param}` may only be ["text"]: this API answers in text')
    return ["text"]


def schema(value: Any, param: str, limits: Limits) -> dict[str, Any]:
    """A JSON schema of bounded depth, size and work."""
    found = mapping(value, param, limits)
    level: list[Any] = [found]
    for _ in range(NESTING):
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)
                 if isinstance(child, (dict, list))]
        if not level:
            break
    else:
        raise invalid(param, f"`{param}` nests deeper than {NESTING} levels")
    if (size := len(json.dumps(found))) > limits.schema_bytes:
        raise invalid(param, f"`{param}` has {size} bytes; it may have {limits.schema_bytes}")
    if (reason := problem(found)) is not None:
        raise invalid(param, f"`{param}` {reason}")
    return found


def prompts(limit: str, why: str) -> Check:
    """A text, a list of texts, a list of token ids, or a list of such lists; nothing empty, which `why` explains."""

    def check(value: Any, param: str, limits: Limits) -> Any:
        if not isinstance(value, (str, list)):
            raise wrong_type(param, "a string or a list", value)
        if not value:
            raise invalid(param, f"`{param}` is empty; {why}")
        if isinstance(value, str):
            return value
        if isinstance(value[0], int):
            return _tokens(value, param)
        if len(value) > getattr(limits, limit):
            raise invalid(param, f"`{param}` has {len(value)} {limit}; it may have {getattr(limits, limit)}")
        for index, one in enumerate(value):
            place = f"{param}[{index}]"
            if not isinstance(one, (str, list)) or type(one) is not type(value[0]):
                raise wrong_type(place, "like the others: all texts, or all lists of token ids,", one)
            if not one:
                raise invalid(place, f"`{place}` is empty; {why}")
            if isinstance(one, list):
                _tokens(one, place)
        return value

    return check


def tokens(value: Any, param: str, limits: Limits) -> list[Any]:
    """A list of token ids."""
    if not isinstance(value, list):
        raise wrong_type(param, "a list of token ids", value)
    return _tokens(value, param)


def _tokens(value: list[Any], param: str) -> list[Any]:
    for index, token in enumerate(value):
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < 2**31:
            raise invalid(f"{param}[{index}]", f"`{param}[{index}]` is not a token id")
    return value


def refused(reason: str) -> Check:
    """A field of OpenAI's that this API does not offer; `reason` ends the sentence."""

    def check(value: Any, param: str, limits: Limits) -> Any:
        raise unsupported(param, f"`{param}` is not supported: {reason}")

    return check


def unless(accepted: tuple[Any, ...], check: Check) -> Check:
    """Values that ask for nothing are accepted; any other goes to `check`."""

    def checked(value: Any, param: str, limits: Limits) -> Any:
        return value if any(value is a or (type(value) is type(a) and value == a) for a in accepted) \
            else check(value, param, limits)

    return checked


def unknown(param: str, name: str, known: tuple[str, ...]) -> ContractError:
    """A field that nobody knows, with the nearest one that somebody does."""
    import difflib

    near = difflib.get_close_matches(name[:64], known, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    place = shorten(param)
    return ContractError(400, "unknown_parameter", f"`{place}` is not a field of this request{hint}", place)


def shown(value: Any) -> str:
    """A value as JSON, short enough for a sentence."""
    return shorten(json.dumps(value, ensure_ascii=True))


def shorten(said: str) -> str:
    return said if len(said) <= 64 else said[:61] + "…"

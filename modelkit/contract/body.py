"""A request's body as JSON, and back."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from modelkit.contract.errors import ContractError, wrong_type


def _not_json(message: str) -> ContractError:
    return ContractError(400, "invalid_json", message)


def _not_a_number(constant: str) -> NoReturn:
    raise _not_json(f"the body has {constant}, which is not a JSON number")


# Made once: with these arguments json.loads and json.dumps would make a new one at each call.
_DECODER = json.JSONDecoder(parse_constant=_not_a_number)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read(body: bytes) -> dict[str, Any]:
    """The JSON object of a request's body: UTF-8, no NaN or Infinity; of a key that comes twice, the last counts."""
    if not body:
        raise _not_json("the body is empty; it must be a JSON object")
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise _not_json("the body is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _not_json(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _not_json("the body nests too deeply") from None
    except ValueError:  # an integer of thousands of digits
        raise _not_json("the body has a number that is too long") from None
    if not isinstance(value, dict):
        raise wrong_type("body", "a JSON object", value)
    return value


def write(request: dict[str, Any]) -> bytes:
    """A filled request as the engine's body. What JSON can't carry (a lone surrogate, 1e999) came from the client."""
    try:
        return _ENCODER.encode(request).encode()
    except UnicodeEncodeError:
        raise _not_json("the body has half of a surrogate pair, which is not a character") from None
    except (ValueError, RecursionError):
        raise _not_json("the body has a number that is too large, or nests too deeply") from None

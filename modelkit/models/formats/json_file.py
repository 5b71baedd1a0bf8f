"""Reads JSON that came with a model: bounded in size and depth, and no key twice."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.access import Access


def read_json(access: Access, most: int = 4 << 20) -> Any:
    """The value in a JSON file of at most `most` bytes. Raises `Failure("json-invalid")`."""
    if access.size > most:
        _refuse(access, f"it has {access.size:,} bytes; the most is {most:,}")
    try:
        return json.loads(access.read_at(0, access.size).decode("utf-8-sig"), object_pairs_hook=_once,
                          parse_constant=_no_number)
    except RecursionError:
        _refuse(access, "it is nested too deeply")
    except UnicodeDecodeError as error:
        _refuse(access, f"it is not UTF-8 at byte {error.start}")
    except _Twice as error:
        _refuse(access, f"`{error}` occurs twice")
    except ValueError as error:
        _refuse(access, f"it is not JSON: {str(error)[:200].lower()}")


class _Twice(ValueError):
    """The key."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    said = dict(pairs)
    if len(said) < len(pairs):
        seen = set[str]()
        raise _Twice(next(key for key, _ in pairs if key in seen or seen.add(key))[:80])  # type: ignore[func-returns-value]
    return said


def _no_number(text: str) -> float:
    """`NaN` and `Infinity` are no JSON, yet Python writes them: configurations in the wild have them."""
    return float(text)


def _refuse(access: Access, what: str) -> NoReturn:
    raise Failure("json-invalid", f"{access.name} can't be used: {what}", "download the file again, or repair it",
                  data={"path": access.name, "check": "json"})

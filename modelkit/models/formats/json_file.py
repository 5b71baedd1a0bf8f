"""Reads JSON that came with a model, bounded in size and depth."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from modelkit.failure import Failure
from modelkit.models.formats.access import Access


def read_json(access: Access, most: int = 4 << 20, *, once: bool = False) -> Any:
    """The value in a JSON file of at most `most` bytes. Raises `Failure("json-invalid")`.

    Of a key that occurs twice the last counts, as for every Python program; `once` refuses it.
    """
    if access.size > most:
        _refuse(access, f"it has {access.size:,} bytes; the most is {most:,}")
    try:
        return json.loads(access.read_at(0, access.size).decode("utf-8-sig"), object_pairs_hook=_once if once else None)
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


def _refuse(access: Access, what: str) -> NoReturn:
    raise Failure("json-invalid", f"{access.name} can't be used: {what}", "download the file again, or repair it",
                  data={"path": access.name, "check": "json"})

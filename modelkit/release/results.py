"""Results that a command wrote into a file: read again without trusting them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from modelkit.failure import Failure

_MOST_BYTES = 256 * 1024 * 1024

Document = TypeVar("Document", bound=BaseModel)


def read_result(path: Path, form: type[Document], *, command: str, code: str, noun: str,
                printed: Collection[str]) -> Document:
    """The document of a file that `modelkit COMMAND` wrote. Fields in `printed` are for readers, and left out.

    Raises Failure: `code` for what is no such document, `too-large` and `unreadable` otherwise.
    """
    hint = f"write one with `modelkit {command} --out FILE`"
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise Failure("too-large", f"{path} is larger than 256 MiB", hint=f"is it {noun}?")
        said = json.loads(path.read_bytes())
        if isinstance(said, dict):
            said = {name: value for name, value in said.items() if name not in printed}
        return form.model_validate(said)
    except OSError as error:
        raise Failure("unreadable", f"{path} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise Failure(code, f"{path} is no result of `modelkit {command}`: {where}: {first['msg'].lower()}",
                      hint=hint) from None
    except (ValueError, RecursionError):
        raise Failure(code, f"{path} is no JSON", hint=hint) from None

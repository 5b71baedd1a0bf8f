"""A program of its own that matches answers against patterns and JSON Schemas, so that either can be stopped.

A pattern can take for ever on some answers (`(a+)+$`), and so can a schema's; Python's engine cannot be interrupted,
a process can. One JSON line in, one out: `{"pattern": …, "text": …}` or `{"schema": …, "value": …}`, answered by
`{"holds": …, "why": …}` or `{"error": …}`. `{"load": true}` gets what takes long to import. Run by its path: it
imports nothing of modelkit, so that it starts at once.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

_MEMORY = 2 * 1024**3  # bytes of address space

# What checks `format`s is not used, since formats assert nothing by default; importing it can take seconds
# (rfc3987_syntax 1.1 compiles a grammar), and jsonschema does without what is not installed.
sys.modules.update(dict.fromkeys(("rfc3987_syntax", "isoduration"), None))  # type: ignore[arg-type]


def _pattern(pattern: str, text: str) -> dict[str, Any]:
    try:
        return {"holds": re.search(pattern, text) is not None, "why": ""}
    except (re.error, OverflowError, RecursionError) as error:
        return {"error": f"the pattern cannot be used: {error}"}


def _schema(schema: Any, value: Any) -> dict[str, Any]:
    import jsonschema
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        validator.check_schema(schema)
        # A registry of nothing: what the schema does not hold itself is not fetched.
        found = jsonschema.exceptions.best_match(validator(schema, registry=Registry()).iter_errors(value))
    except jsonschema.SchemaError as error:
        return {"error": f"the JSON Schema is none: {error.message}"[:500]}
    except (Unresolvable, RecursionError) as error:
        return {"error": f"the JSON Schema cannot be followed: {error}"[:500]}
    if found is None:
        return {"holds": True, "why": ""}
    return {"holds": False, "why": f"{found.json_path}: {found.message}"[:500]}


def _answer(job: dict[str, Any]) -> dict[str, Any]:
    if "load" in job:
        import jsonschema  # noqa: F401

        return {}
    return _pattern(job["pattern"], job["text"]) if "pattern" in job else _schema(job["schema"], job["value"])


def main() -> None:
    """Until standard input ends."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    except (ImportError, ValueError, OSError):  # not on this system, or already less
        pass
    for line in sys.stdin:
        try:
            said = _answer(json.loads(line))
        except MemoryError:
            said = {"error": "it takes too much memory"}
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()

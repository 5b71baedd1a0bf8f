"""One streamed chat answer from the project's address, for `modelkit chat`."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from modelkit.failure import Failure


def answer(base_url: str, key: str | None, model: str, messages: list[dict[str, str]]) -> Iterator[str]:
    """The pieces of the model's answer as they come. Raises Failure with the server's own words."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=600)
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    body = json.dumps({"model": model, "messages": messages, "stream": True})
    try:
        connection.request("POST", f"{url.path}/chat/completions", body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise _refused(response.status, response.read())
        for line in response:
            if line.startswith(b"data: ") and line != b"data: [DONE]\n":
                yield from _pieces(json.loads(line[6:]))
    except (OSError, http.client.HTTPException) as error:
        raise Failure("unreachable", f"{base_url} does not answer: {error}", hint="modelkit ps") from None
    finally:
        connection.close()


def _pieces(event: dict[str, Any]) -> Iterator[str]:
    if "error" in event:
        raise Failure("engine", str(event["error"].get("message")), hint="modelkit logs shows the engine's last words")
    for choice in event.get("choices", ()):
        if text := choice.get("delta", {}).get("content"):
            yield text


def _refused(status: int, raw: bytes) -> Failure:
    try:
        said = json.loads(raw)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = raw[:200].decode("utf-8", "replace")
    hint = "export MODELKIT_API_KEY with the key that `up` was given" if status == 401 else None
    return Failure("refused", f"the server answered {status}: {said}", hint=hint)

"""One request for a part of a remote file, and what the answer says about all of it (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.sources.transport import Remote, open_answer, refusal

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(frozen=True)
class State:
    """What the server said about the file that we have or read a part of."""

    url: str = ""
    validator: str | None = None  # its ETag or the time it was changed: a name of this state of the file
    size: int | None = None


@dataclass(frozen=True)
class Offer:
    """What an answer says about the file: its state, where its body begins, whether parts can be asked for."""

    state: State
    start: int
    ranges: bool
    chunked: bool


def ask(remote: Remote, start: int, end: int | None, state: State, *,
        direct: str = "") -> tuple[BaseHTTPResponse, Offer]:
    """The answer to a request for the bytes from `start` to before `end`; the caller closes it.

    `direct` is where the file's address led to before: that is asked, for the same file. Where the server can't do
    ranges, or `state` is not the file's state any more, the answer is one for the whole file.
    """
    headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
    if start and state.validator and state.url == remote.url:
        headers["If-Range"] = state.validator
    if end == 0 or remote.size == 0:
        headers = {}
    asked = remote.at(direct) if direct else remote
    answer = open_answer(asked, headers)
    try:
        if answer.status == 416 and headers:  # nothing is there: the file is empty, or shorter than what we have
            answer.close()
            answer = open_answer(asked)
        return answer, _offer(remote, answer, start)
    except BaseException:
        answer.close()
        raise


def _offer(remote: Remote, answer: BaseHTTPResponse, asked: int) -> Offer:
    headers = answer.headers
    if headers.get("Content-Encoding", "identity") != "identity":
        raise _broken(remote, "the server sends it packed although it was asked not to")
    etag = headers.get("ETag", "")
    validator = etag if etag.startswith('"') else headers.get("Last-Modified") if not etag else None
    chunked = "chunked" in headers.get("Transfer-Encoding", "").lower()
    length = headers.get("Content-Length", "")
    if answer.status == 200:
        size = int(length) if length.isdecimal() and not chunked else None
        return Offer(State(remote.url, validator, size), 0, False, chunked)
    if answer.status != 206:
        raise refusal(remote, answer.status)
    if (match := _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())) is None or int(match[1]) != asked:
        raise _broken(remote, "the server answers with another part of it than was asked for")
    size = None if match[3] == "*" else int(match[3])
    sure = validator is not None or remote.digest is not None  # that parts are parts of one file
    return Offer(State(remote.url, validator, size), asked, size is not None and sure, chunked)


def _broken(remote: Remote, why: str) -> Failure:
    return Failure("server-broken", f"{remote.shown} can't be fetched: {why}", "the server is broken; try another one",
                   data={"url": remote.shown})

"""One client, from the first byte to the last."""

from __future__ import annotations

import logging
from typing import BinaryIO

from pygls.exceptions import JsonRpcException

from modelkit.lsp.features import add_features
from modelkit.lsp.server import ModelfileServer


def serve(stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Answers one client until it leaves. The exit code is the protocol's: 0 if it said `shutdown` before, else 1."""
    _log_in_lines()
    made = ModelfileServer()
    add_features(made)
    made.start_io(stdin, stdout)
    return 0 if made.left_in_order else 1


class _Line(logging.Formatter):
    """A record as one line: what went wrong, without the way there."""

    def format(self, record: logging.LogRecord) -> str:
        cause = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() if cause is None else f"{type(cause).__name__}: {cause}"
        return f"modelkit lsp: {said.splitlines()[0] if said else record.levelname}"


def _log_in_lines() -> None:
    """Editors show a server's stderr to people: no tracebacks there, and nothing of requests that were refused."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], JsonRpcException)))
    logging.getLogger().addHandler(handler)

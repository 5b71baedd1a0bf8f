"""The access log: one JSON line for each request, without bodies, keys or query strings."""

from __future__ import annotations

from collections.abc import Callable
from time import gmtime, strftime, time
from typing import TYPE_CHECKING

from modelkit.runtime.edge.upstream import Backend

if TYPE_CHECKING:
    from modelkit.runtime.edge.exchange import Exchange


class Journal:
    """Writes lines to `write`. Every word in them is from a table, or was checked when it came in."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._now = 0  # in milliseconds, and the words for it: under load many requests end in one
        self._stamp = ""

    def note(self, exchange: Exchange, backend: Backend | None, status: int, took: float,
             first: float | None) -> None:
        """One request is over after `took` seconds; the first byte of its stream passed after `first`."""
        now = int(time() * 1000)
        if now != self._now:
            self._now, self._stamp = now, f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now // 1000))}.{now % 1000:03}Z"
        words = backend.words if backend is not None else '"stage":"","version":""'
        ttft = f',"ttft_ms":{first * 1000:.1f}' if first is not None else ""
        self._write(f'{{"at":"{self._stamp}","id":"{exchange.id.decode()}",'
                    f'"client":"{exchange.client.peer}",{exchange.request.words},'
                    f'"status":{status},"outcome":"{exchange.outcome}",{words},'
                    f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out},"ms":{took * 1000:.1f}{ttft}}}')

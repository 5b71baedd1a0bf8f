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
        self._second = -1
        self._stamp = ""

    def note(self, exchange: Exchange, backend: Backend | None, status: int, took: float,
             first: float | None) -> None:
        """One request is over after `took` seconds; the first byte of its stream passed after `first`."""
        now = time()
        if (second := int(now)) != self._second:
            self._second, self._stamp = second, strftime("%Y-%m-%dT%H:%M:%S", gmtime(second))
        words = backend.words if backend is not None else '"stage":"","version":""'
        ttft = f',"ttft_ms":{first * 1000:.1f}' if first is not None else ""
        request = exchange.request
        self._write(f'{{"at":"{self._stamp}.{int((now - second) * 1000):03}Z","id":"{exchange.id.decode()}",'
                    f'"client":"{exchange.client.peer}","method":"{request.method.decode()}",'
                    f'"route":"{request.route.label}","status":{status},"outcome":"{exchange.outcome}",{words},'
                    f'"bytes_in":{exchange.bytes_in},"bytes_out":{exchange.bytes_out},"ms":{took * 1000:.1f}{ttft}}}')

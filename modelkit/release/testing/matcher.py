"""Patterns and JSON Schemas against answers, each within a time limit."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from modelkit.release.testing import matching

_LIMIT = 2.0  # seconds for one match
_START = 60.0  # seconds for the process to be there, on a machine that has much to do


class Match(NamedTuple):
    """Whether it holds and why not; `error`: it could not be found out, which says nothing about the answer."""

    holds: bool = False
    why: str = ""
    error: str = ""


class Matcher:
    """A process that matches, started with the first match and anew after one that took too long. Close it."""

    def __init__(self, *, limit: float = _LIMIT) -> None:
        self._limit = limit
        self._process: asyncio.subprocess.Process | None = None
        self._loaded = False
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        await self._end()

    async def pattern(self, pattern: str, text: str) -> Match:
        """Whether a regular expression, as Python reads it, is found in a text."""
        return await self._match({"pattern": pattern, "text": text}, "the pattern")

    async def schema(self, schema: Any, value: Any) -> Match:
        """Whether a value satisfies a JSON Schema."""
        return await self._match({"schema": schema, "value": value}, "the JSON Schema", load=True)

    async def _match(self, job: dict[str, Any], what: str, *, load: bool = False) -> Match:
        async with self._turn:
            try:
                if load and not self._loaded:
                    await self._ask({"load": True}, _START)
                    self._loaded = True
                elif self._process is None:
                    await self._ask({"pattern": "", "text": ""}, _START)
                return Match(**await self._ask(job, self._limit))
            except TimeoutError:
                await self._end()
                return Match(error=f"{what} took longer than {self._limit:g} s on this answer")
            except (OSError, ValueError):
                await self._end()
                return Match(error=f"{what} could not be matched: the process that does it ended")
            except BaseException:  # interrupted between a question and its answer: the next one must not read it
                await self._end()
                raise

    async def _ask(self, job: dict[str, Any], seconds: float) -> dict[str, Any]:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", str(Path(matching.__file__)), stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True)
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        async with asyncio.timeout(seconds):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
            line = await process.stdout.readline()
        return dict(json.loads(line))

    async def _end(self) -> None:
        process, self._process, self._loaded = self._process, None, False
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

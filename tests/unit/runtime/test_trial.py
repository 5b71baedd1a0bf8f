"""An engine in a run of its own says what it has to say and leaves nothing, however it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.runtime.identity import LINUX, marked
from modelkit.runtime.trial import Trial, trial
from tests.unit.runtime.support import FAST, bundle, within

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where runs get their directories: a short path, for their sockets'."""
    with tempfile.TemporaryDirectory(prefix="mk-t", dir="/tmp") as path:
        monkeypatch.setenv("TMPDIR", path)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(path)


def test_it_is_asked_and_gone(temporary: Path) -> None:
    shown: list[str] = []

    async def look() -> tuple[Trial, dict[str, Any]]:
        what = bundle("--say", "buffer size = 1 MiB", "--say", "loading", "--spawn-grandchild", "--memory", "40",
                      "--effective", '{"schema": "modelkit.effective/1", "kv_tokens": 512}', log_progress=("loading",))
        async with trial(what, os.environ, shown.append, timing=FAST) as engine:
            said = await engine.effective()
            return engine, {"pids": len(engine.pids), "rss": engine.resident(), "cpu": engine.processor_seconds(),
                            "kv": said.kv_tokens if said else None, "log": engine.log}

    engine, seen = asyncio.run(look())
    assert seen["pids"] >= 1 and seen["kv"] == 512 and "buffer size = 1 MiB" in seen["log"]
    assert seen["rss"] > 40 << 20 and seen["cpu"] > 0
    assert shown == ["loading"]
    assert list(temporary.iterdir()) == [] and list(marked(engine.engine.seat.run_id)) == []


@pytest.mark.parametrize(("vices", "code"), [(("--die-at-start", "no memory left"), "engine-exited"),
                                             (("--never-ready",), "engine-not-ready"),
                                             (("--lying-health",), "engine-not-working")])
def test_what_does_not_start_leaves_nothing(temporary: Path, vices: tuple[str, ...], code: str) -> None:
    async def look() -> None:
        async with trial(bundle(*vices, start=1), os.environ, lambda line: None, timing=FAST):
            raise AssertionError("it was ready")

    with pytest.raises(Failure) as failed:
        asyncio.run(look())
    assert failed.value.code == code and list(temporary.iterdir()) == []


_ALONE = """
import asyncio, os
from modelkit.runtime.trial import trial
from tests.unit.runtime.support import FAST, bundle
async def look():
    async with trial(bundle("--spawn-grandchild"), os.environ, print, timing=FAST) as engine:
        print(engine.engine.seat.run_id, flush=True)
        await asyncio.sleep(60)
try:
    asyncio.run(look())
except (KeyboardInterrupt, asyncio.CancelledError):
    print("stopped", flush=True)
"""


@pytest.mark.skipif(not LINUX, reason="other systems do not tell a process's environment")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda one: one.name)
def test_nothing_is_left_of_it(temporary: Path, number: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", _ALONE], stdout=subprocess.PIPE, text=True,
                          cwd=Path(__file__).parents[3]) as child:
        assert child.stdout is not None
        run_id = child.stdout.readline().strip()
        assert list(marked(run_id))
        child.send_signal(number)
        rest = child.stdout.read()
        child.wait(30)
    assert within(20, lambda: not list(marked(run_id)))
    if number != signal.SIGKILL:
        assert "stopped" in rest and list(temporary.iterdir()) == []

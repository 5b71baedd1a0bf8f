"""A heavy tool in a child process: its answers, its vices, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from modelkit.failure import Failure
from modelkit.models.convert import tool as tools
from modelkit.models.convert.tool import Tool, run_child

TOOL = Tool("quantizer", "fake 1", sys.executable)


def script(folder: Path, body: str) -> Path:
    path = folder / "script.py"
    path.write_text("import os, signal, sys, time\n\ndef main(request, say):\n"
                    + textwrap.indent(textwrap.dedent(body), "    "))
    return path


def run(folder: Path, body: str, tool: Tool = TOOL, **more):
    work = folder / "work"
    work.mkdir(exist_ok=True)
    return run_child(tool, script(folder, body), {"x": 1}, work=work, **more)


def gone(pid: int) -> bool:
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_it_answers_with_progress_and_in_its_folder(tmp_path: Path) -> None:
    heard: list[tuple[int, int | None, str]] = []
    said = run(tmp_path, """
        say(progress=[0, None, "beginning"])
        say(progress=[5, 10, "half"])
        return {"x": request["x"], "files": request["files"], "here": os.getcwd()}
    """, Tool("converter", "1", sys.executable, "/somewhere"), on_progress=lambda *one: heard.append(one))
    assert said == {"x": 1, "files": "/somewhere", "here": str(tmp_path / "work")}
    assert heard == [(0, None, "beginning"), (5, 10, "half")]


def test_what_libraries_print_is_no_answer(tmp_path: Path) -> None:
    assert run(tmp_path, """
        print("hello from a library")
        os.write(1, b"and from C\\n")
        return {}
    """) == {}


def test_it_sees_neither_secrets_nor_devices_nor_the_network(tmp_path: Path, monkeypatch) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH", "HTTPS_PROXY", "CUDA_HOME"):
        monkeypatch.setenv(name, "secret")
    seen = run(tmp_path, "return dict(os.environ)", threads=3)
    assert "secret" not in seen.values()
    assert seen["HF_HUB_OFFLINE"] == seen["TRANSFORMERS_OFFLINE"] == "1"
    assert seen["CUDA_VISIBLE_DEVICES"] == "" and seen["OMP_NUM_THREADS"] == "3"
    assert seen["HOME"] == os.environ["HOME"] and seen["TMPDIR"] == str(tmp_path / "work")
    assert run(tmp_path, "return dict(os.environ)", devices=True)["CUDA_HOME"] == "secret"


@pytest.mark.parametrize(("body", "code", "words"), [
    ("raise ValueError('no such thing')", "tool-failed", "ValueError: no such thing"),
    ("import no_such_module_at_all", "tool-incomplete", "no_such_module_at_all"),
    ("raise MemoryError", "tool-out-of-memory", "out of memory"),
    ("raise NotImplementedError('this model')", "tool-not-yet", "this model"),
    ("sys.exit(3)", "tool-failed", "ended with 3"),
    ("os._exit(3)", "tool-broken", "status 3 without an answer"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "tool-crashed", "SIGSEGV"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "tool-killed", "killed from outside"),
    ("return 5", "tool-broken", "no answer"),
    ("say(nonsense=1)\ntime.sleep(60)", "tool-broken", "no answer"),
    ("say(progress=['a'])\ntime.sleep(60)", "tool-broken", "no answer"),
    ("say(result={})\nos._exit(4)", "tool-broken", "answered, and then exited with status 4"),
], ids=lambda value: value[:24])
def test_each_vice_is_one_clear_failure(tmp_path: Path, body: str, code: str, words: str) -> None:
    with pytest.raises(Failure) as caught:
        run(tmp_path, body)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.message.startswith("the quantizer (fake 1) ")


def test_its_own_failure_and_its_last_lines_come_through(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        run(tmp_path, """
            print("reading the file")
            say(failure={"code": "some-trouble", "message": "it is so", "hint": "do that"})
            raise SystemExit(1)
        """)
    assert (caught.value.code, caught.value.message, caught.value.hint) == ("some-trouble", "it is so", "do that")
    assert caught.value.detail == ("reading the file",)


def test_garbage_on_the_answers_descriptor(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        run(tmp_path, """
            for descriptor in range(3, 10):
                try:
                    os.write(descriptor, b"\\xff" * 3_000_000)
                except OSError:
                    pass
        """)
    assert caught.value.code == "tool-broken"


def test_a_python_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Failure) as caught:
        run(tmp_path, "return {}", Tool("compressor", "1", str(tmp_path / "no" / "python")))
    assert caught.value.code == "tool-not-startable"
    assert "tool install compressor" in (caught.value.hint or "")


def test_one_that_will_not_end_is_ended(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tools, "_PATIENCE", 0.3)
    with pytest.raises(Failure) as caught:
        run(tmp_path, """
            for descriptor in range(3, 10):
                try:
                    os.close(descriptor)
                except OSError:
                    pass
            time.sleep(600)
        """)
    assert caught.value.code == "tool-broken" and "did not end" in caught.value.message


def test_what_it_started_goes_with_it(tmp_path: Path) -> None:
    """A grandchild holds every pipe open: the answer is not waited for, and the grandchild is killed."""
    said = run(tmp_path, """
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        return {"child": child}
    """)
    assert gone(said["child"])


def test_an_interrupt_ends_a_child_that_is_deaf(tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupt(done: int, total: int | None, label: str) -> None:
        seen.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, """
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            say(progress=[os.getpid(), None, "working"])
            time.sleep(600)
        """, on_progress=interrupt)
    assert gone(seen[0])


def test_it_dies_with_us(tmp_path: Path) -> None:
    """kill -9 to who asked: the child, busy in Python, goes too."""
    (tmp_path / "work").mkdir()
    body = script(tmp_path, """
        say(progress=[os.getpid(), None, "working"])
        while True:
            time.sleep(0.01)
    """)
    asking = subprocess.Popen([sys.executable, "-c", textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from modelkit.models.convert.tool import Tool, run_child
        run_child(Tool("quantizer", "1", sys.executable), Path({str(body)!r}), {{}}, work=Path({str(tmp_path)!r}),
                  on_progress=lambda done, total, label: print(done, flush=True))
    """)], stdout=subprocess.PIPE)
    assert asking.stdout is not None
    child = int(asking.stdout.readline())
    asking.send_signal(signal.SIGKILL)
    asking.wait()
    asking.stdout.close()
    assert gone(child)


def test_no_thread_and_no_descriptor_stays(tmp_path: Path) -> None:
    run(tmp_path, "return {}")
    threads, descriptors = threading.active_count(), psutil.Process().num_fds()
    for _ in range(3):
        run(tmp_path, "return {}")
    assert threading.active_count() == threads
    assert psutil.Process().num_fds() == descriptors

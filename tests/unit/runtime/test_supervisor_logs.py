"""What engines print: cleaned, redacted, kept within bounds, followed."""

from __future__ import annotations

from hashlib import sha256
from itertools import chain, repeat
from pathlib import Path

import pytest

from modelkit.runtime.logs import (
    EngineLog,
    Lines,
    Output,
    Redaction,
    RotatingFile,
    Tail,
    follow,
    log_files,
    read_last,
)
from tests.unit.runtime.support import Home


def lines_of(*chunks: bytes) -> list[bytes]:
    lines = Lines()
    return [line for chunk in chunks for line in lines.feed(chunk)] + lines.end()


@pytest.mark.parametrize(("chunks", "expected"), [
    ((b"one\ntwo\n",), [b"one", b"two"]),
    ((b"on", b"e\ntw", b"o"), [b"one", b"two"]),
    ((b"a\r\nb\r\n",), [b"a", b"b"]),
    ((b"10%\r20%\r30%\n",), [b"10%", b"20%", b"30%"]),
    ((b"\n\n  \n",), []),
    ((b"\x1b[31mred\x1b[0m \x1b]0;title\x07text\x07\x00\n",), [b"red text"]),
    ((b"tab\there  \n",), [b"tab\there"]),
    ((b"x" * 20000 + b"\n",), [b"x" * 8192, b"x" * 8192, b"x" * 3616]),
    ((b"caf\xc3\xa9 \xff\n",), [b"caf\xc3\xa9 \xff"]),
    ((b"",), []),
])
def test_lines_are_clean(chunks: tuple[bytes, ...], expected: list[bytes]) -> None:
    assert lines_of(*chunks) == expected


def test_a_line_without_end_is_not_kept() -> None:
    lines = Lines()
    for _ in range(1000):
        lines.feed(b"x" * 65536)
    assert len(lines._rest) <= 8192


@pytest.mark.parametrize(("text", "expected"), [
    (b"token is hf_abcdef!", b"token is [redacted]!"),
    (b"hf_abcdefhf_abcdef", b"[redacted][redacted]"),
    (b"the size is 12345678", b"the size is 12345678"),
    (b"Authorization: Bearer whatever123", b"Authorization: Bearer [redacted]"),
    (b'{"api_key": "sk-1234567890"}', b'{"api_key": "[redacted]"}'),
    (b"key=sk-1234567890 used", b"key=[redacted] used"),
    (b"nothing of interest", b"nothing of interest"),
])
def test_secrets_are_taken_out(text: bytes, expected: bytes) -> None:
    redact = Redaction({"HF_TOKEN": "hf_abcdef", "CACHE_SIZE": "12345678", "SHORT_KEY": "abc"},
                       {sha256(b"sk-1234567890").hexdigest()})
    assert redact(text) == expected


def test_a_file_is_rotated_and_the_oldest_goes(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "log", size=100, keep=3)
    for number in range(100):
        file.write(f"{number:09}\n".encode())
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= 100 and path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.iterdir())
    kept = "".join((tmp_path / name).read_text() for name in ("log.2", "log.1", "log")).split()
    assert kept == [f"{number:09}" for number in range(100 - len(kept), 100)]


def test_a_file_that_cannot_be_written_loses_lines_only(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    RotatingFile(tmp_path / "log").write(b"lost")


def test_a_log_file_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep me")
    (tmp_path / "log").symlink_to(tmp_path / "precious")
    RotatingFile(tmp_path / "log").write(b"lost")
    assert (tmp_path / "precious").read_text() == "keep me"


def test_a_tail_is_short_and_has_the_last_line(home: Home) -> None:
    home.project.make()
    heard: list[str] = []
    output = Output(EngineLog(home.project), "g1 dev", Redaction())
    output.listener = heard.append
    output(b"".join(b"line %d\n" % number for number in range(1000)) + b"no end")
    assert output.tail(3) == ("line 998", "line 999", "no end")
    assert len(output.tail(1000)) == 200
    assert heard[0] == "line 0" and heard[-1] == "no end"
    first = home.project.engine_log.read_text().splitlines()[0]
    assert first.endswith(" g1 dev | line 0") and first[10] == "T"


def test_the_run_before_is_kept(home: Home) -> None:
    home.project.make()
    for run in ("first", "second"):
        EngineLog.begin(home.project)
        log = EngineLog(home.project)
        log.write("g1 dev", [run.encode()])
        log.close()
    assert [path.name for path in log_files(home.project)] == ["previous.log", "engine.log"]
    assert [line.rpartition(" ")[2] for line in read_last(home.project, 10)] == ["first", "second"]
    EngineLog.begin(home.project)
    assert [line.rpartition(" ")[2] for line in read_last(home.project, 10)] == ["second"]


def test_following_sees_each_line_once_over_rotation_and_restart(home: Home) -> None:
    home.project.make()
    log, tail = EngineLog(home.project), Tail(home.project.engine_log)
    seen: list[str] = []
    assert list(tail.lines()) == [], "nothing has been said"
    for number in range(9):
        if number == 3:
            log._file._rotate()
        if number == 6:
            log.close()
            EngineLog.begin(home.project)
            log = EngineLog(home.project)
        log.write("g1 dev", [b"%d" % number])
        if number % 2:  # not after each: what was said before a rotation is read after it
            seen += [line.rpartition(" ")[2] for line in tail.lines()]
    seen += [line.rpartition(" ")[2] for line in tail.lines()]
    log.close()
    tail.close()
    assert seen == [str(number) for number in range(9)]


def test_following_begins_with_the_last_lines_and_ends_when_told(home: Home) -> None:
    home.project.make()
    log = EngineLog(home.project)
    log.write("g1 dev", [b"0", b"1", b"2"])
    going = chain([True, True], repeat(False))

    def go_on() -> bool:
        goes_on = next(going)
        if goes_on:
            log.write("g1 dev", [b"more"])
        return goes_on

    followed = list(follow(home.project, 2, every=0.001, go_on=go_on))
    log.close()
    assert [line.rpartition(" ")[2] for line in followed][:2] == ["1", "2"]
    assert followed[2:] and all(line.endswith("more") for line in followed[2:])

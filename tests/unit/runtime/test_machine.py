"""Clients of platforms, as their own programs tell them, which are stand-ins here; memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from modelkit.runtime import asking, machine
from modelkit.runtime.machine import clients, memory


def answers(**said: tuple[int, str]) -> Callable[[Sequence[str]], tuple[int, str]]:
    """A machine on which only these programs are, by their first two words."""
    return lambda words: said.get("_".join(words[:2]).replace("-", "_"), said.get(words[0].replace("-", "_"),
                                                                                 (127, "")))


def test_clients_that_are_here_and_those_that_are_not() -> None:
    found = {one.name: one for one in clients(answers(
        docker_version=(0, "27.3.1\n"), docker_info=(1, "Client:\nerror: cannot connect to the daemon\n"),
        docker=(1, "docker: 'compose' is not a docker command\n"), kubectl=(0, "Client Version: v1.32.4\n"),
        systemctl=(0, "systemd 252 (252.39-1)\n+PAM\n"), podman=(126, "exec format error\n"),
        helm=(0, "v3.16.2+g13654a5\n"), ray=(0, "ray, version 2.60.0\n")))}
    assert found["docker"].version == "27.3.1" and found["docker"].problem == "error: cannot connect to the daemon"
    assert not found["docker compose"].present and not found["sky"].present
    assert (found["kubectl"].version, found["systemctl"].version, found["helm"].version) == ("1.32.4", "252", "3.16.2")
    assert found["podman"].present and found["podman"].problem == "exec format error"
    assert found["ray"].platforms == ("ray",) and found["ray"].version == "2.60.0"


def test_every_platform_with_a_client_is_looked_after() -> None:
    from modelkit.language.engine_words import PLATFORMS

    named = {platform for one in clients(answers()) for platform in one.platforms}
    assert named <= set(PLATFORMS)
    assert named == {name for name, row in PLATFORMS.items() if row.effective} - {"process"}


def test_a_program_that_hangs_or_cannot_run_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, body in (("slow", "#!/bin/sh\nexec sleep 30\n"), ("broken", "\x7fELF nonsense"),
                       ("well", "#!/bin/sh\necho 1\n")):
        (tmp_path / name).write_text(body)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(asking, "SECONDS", 0.3)
    assert machine.run(["slow"])[0] == 124
    assert machine.run(["broken"])[0] != 0
    assert machine.run(["well"]) == (0, "1\n") and machine.run(["not-here"])[0] == 127


def test_memory_is_the_smallest_limit_above_us(tmp_path: Path) -> None:
    groups, own = tmp_path / "cgroup", tmp_path / "own"
    inner = groups / "user.slice" / "app"
    inner.mkdir(parents=True)
    own.write_text("0::/user.slice/app\n")
    whole = memory(groups, own)
    assert whole is not None and whole > 10**8  # the machine's
    (inner / "memory.max").write_text("max\n")
    assert memory(groups, own) == whole
    (groups / "user.slice" / "memory.max").write_text("4096\n")
    (tmp_path / "memory.max").write_text("1\n")  # above the groups: not one of them
    assert memory(groups, own) == 4096
    (inner / "memory.max").write_text("2048\n")
    assert memory(groups, own) == 2048
    assert memory(groups, tmp_path / "gone") == whole  # a container sees itself as the root

"""A platform's client as a child: heard line by line, ended by Ctrl-C, quoted when it fails."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from modelkit.failure import Failure
from modelkit.platforms.manifests import DIRECTORY, Client, Command
from modelkit.runtime import apply
from modelkit.runtime.deployments import Deployment


def deployment(folder: Path, *commands: Command, logs: Command = ("true",), tail: str = "--tail",
               variables: dict[str, str] | None = None) -> Deployment:
    (folder / "bundle").mkdir(exist_ok=True)
    client = Client(("sh",), up=commands, down=(), status=(), logs=(logs,), tail=tail, variables=variables or {})
    return Deployment(folder, "/app/Modelfile", "bot", "prod", "compose", "vllm", client)


def test_commands_run_in_order_in_the_bundle(tmp_path: Path) -> None:
    heard: list[str] = []
    one = deployment(tmp_path, ("sh", "-c", "pwd; echo $KEY"), ("echo", DIRECTORY), variables={"KEY": "env:K"})
    apply.run(one, one.client.up, heard.append, {"KEY": "secret"})
    assert heard == [str(tmp_path / "bundle"), "secret", str(tmp_path / "bundle")]


def test_the_first_failure_ends_it_and_says_everything(tmp_path: Path) -> None:
    heard: list[str] = []
    one = deployment(tmp_path, ("sh", "-c", "echo out; echo one >&2; echo two >&2; exit 7"), ("echo", "never"))
    with pytest.raises(Failure) as caught:
        apply.run(one, one.client.up, heard.append)
    assert caught.value.detail == ("one", "two") and caught.value.data["exit_code"] == 7
    assert "never" not in heard and str(tmp_path / "bundle") in str(caught.value.hint)


@pytest.mark.parametrize(("said", "hint"), [
    ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock", "start Docker"),
    ("docker: unknown command: docker compose", "Compose plugin"),
    ("Bind for 127.0.0.1:8484 failed: port is already allocated", "SERVE port"),
    ("Failed to connect to bus: No medium found", "enable-linger"),
    ("Unable to connect to the server: dial tcp: lookup cluster", "current-context"),
    ('error: no matches for kind "InferencePool" in version "inference.networking.k8s.io/v1"', "definitions"),
    ('Error from server (Forbidden): deployments.apps is forbidden: User "x" cannot create', "right"),
    ("could not select device driver \"nvidia\" with capabilities: [[gpu]]", "NVIDIA Container Toolkit"),
])
def test_known_words_have_a_hint(said: str, hint: str, tmp_path: Path) -> None:
    ran = apply.Ran(("x",), 1, (), (said,))
    assert hint in str(apply.failed(ran, deployment(tmp_path)).hint)


def test_ctrl_c_ends_the_client_and_what_it_started(tmp_path: Path) -> None:
    """The client hears of it once, from us, and may clean up before it goes."""
    script = 'trap "echo bye; exit 130" INT; sleep 300 & echo $! $$; while :; do sleep 0.1; done'
    heard: list[str] = []
    one = deployment(tmp_path, ("sh", "-c", script), ("echo", "never"))

    def say(line: str) -> None:
        heard.append(line)
        if len(heard) == 1:
            threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        apply.run(one, one.client.up, say)
    pids = [int(word) for word in heard[0].split()]
    assert "never" not in heard
    psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], 10)
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


@pytest.mark.parametrize(("logs", "tail", "want", "said"), [
    (("echo", "logs", "--no-color"), "--tail", (5, True), "logs --follow --tail=5 --no-color"),
    (("echo", "logs", "--tail=-1", "-l", "a=b"), "--tail", (5, False), "logs --tail=5 -l a=b"),
    (("echo", "logs", "--no-follow", "bot"), "--tail", (None, True), "logs --follow bot"),
    (("echo", "--user", "--unit=x"), "--lines", (3, False), "--lines=3 --user --unit=x"),
    (("echo", "logs"), "--tail", (None, False), "logs"),
])
def test_logs_are_asked_for_in_the_clients_words(logs: Command, tail: str, want: tuple[int | None, bool], said: str,
                                                 tmp_path: Path) -> None:
    heard: list[str] = []
    apply.follow(deployment(tmp_path, logs=logs, tail=tail), heard.append, tail=want[0], go_on=want[1])
    assert heard == [said]


def test_a_client_that_hangs_does_not_hang_ps(tmp_path: Path) -> None:
    one = deployment(tmp_path)
    slow, gone = apply.ask(one, (("sleep", "60"), ("no-such-program-here",)), seconds=0.2)
    assert (slow.code, gone.code) == (124, 127) and "did not answer" in slow.errors[0]


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    client = Client(("sh", "no-such-program-here"), (), (), (), (), install="it: https://example.com")
    with pytest.raises(Failure) as caught:
        apply.presume_programs(client, "compose", "prod")
    assert "`no-such-program-here`" in caught.value.message and "https://example.com" in str(caught.value.hint)

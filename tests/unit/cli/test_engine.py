"""`modelkit engine`, and what doctor and check say of engines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from modelkit.cli.commands import doctor
from modelkit.engines import llama_providers
from modelkit.engines.llama_providers import Provider
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.plan import Engine
from modelkit.runtime import environments, hardware, machine
from modelkit.runtime.environments import EngineEnvironment
from modelkit.runtime.hardware import Machine
from modelkit.runtime.machine import Client
from tests.unit.cli.conftest import Run

Found = tuple[int, dict[str, list[doctor.Finding]]]
Look = Callable[..., Found]


def environment(home: Path, version: str, variant: str = "cpu", engine: str = "vllm") -> EngineEnvironment:
    """An installed engine that is only there."""
    folder = home / "data" / "engines" / f"{engine}-{version}-{variant}"
    (folder / "bin").mkdir(parents=True)
    for name in ("python", "vllm"):
        (folder / "bin" / name).write_text("")
    made = EngineEnvironment(engine, version, variant, str(folder), "sha256:" + "ab" * 32, "3.11.7", "uv",
                             "2026-11-23T12:00:00+00:00", 3_600_000_000)
    (folder / "modelkit.json").write_text(json.dumps(made.as_json()))
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(environments, "detect_variant", lambda: "cpu")
    wheel = Engine(name="llama.cpp", provider="xllamacpp", version="2026.10.11549", command=("/usr/bin/python3",))

    def providers(environments: Iterable[EngineEnvironment] = ()) -> tuple[Provider, ...]:
        own = (Engine(name="llama.cpp", provider="llama-cpp-python", version=one.version, command=(one.command,),
                      variant=one.variant) for one in environments)
        return (*(Provider(one, "in its environment") for one in own), Provider(wheel, "in modelkit's own Python"))

    monkeypatch.setattr(llama_providers, "providers", providers)
    monkeypatch.setattr(llama_providers, "version_here", lambda: None)
    return tmp_path / "home"


def test_list_shows_every_environment_and_which_is_taken(home: Path, run: Run) -> None:
    environment(home, "0.31.0")
    environment(home, "0.32.0")
    code, out, _ = run("engine", "list")
    lines = [line.split() for line in out.splitlines() if "vllm" in line]
    assert code == 0 and [line[:4] for line in lines] == [["*", "vllm", "0.32.0", "cpu"], ["vllm", "0.31.0", "cpu",
                                                                                          "environment"]]
    assert "abababababab" in out and "3.6 GB" in out
    code, out, _ = run("engine", "list", "--json")
    rows = {one["version"]: one for one in json.loads(out)}
    assert rows["0.32.0"]["taken"] and not rows["0.31.0"]["taken"]
    assert rows["0.31.0"]["requirements"].startswith("sha256:") and rows["0.31.0"]["size"] == 3_600_000_000


def test_list_names_every_llama_cpp_once_and_says_which_is_taken_and_why(home: Path, run: Run) -> None:
    code, out, err = run("engine", "list")
    (line,) = [line.split() for line in out.splitlines() if "xllamacpp" in line]
    assert code == 0 and line[:4] == ["*", "llama.cpp", "llama-server", "2026.10.11549"]
    assert "modelkit engine install llama.cpp" in err
    made = environment(home, "0.3.36", engine="llama.cpp")
    _, out, err = run("engine", "list")
    lines = [line.split() for line in out.splitlines() if line.strip() and "ENGINE" not in line]
    assert [line[:3] for line in lines] == [["*", "llama-server", "2026.10.11549"], ["*", "llama.cpp", "0.3.36"]]
    assert lines[1][-1] == made.command
    assert "llama.cpp is llama-cpp-python 0.3.36 in its environment: modelkit's own engine goes first" in err
    assert run("engine", "rm", "llama.cpp")[0] == 0 and not Path(made.path).exists()


def test_rm_takes_one_version_and_says_what_there_is(home: Path, run: Run) -> None:
    old, new = environment(home, "0.31.0"), environment(home, "0.32.0")
    assert run("engine", "rm", "vllm", "--version", "0.31.0")[0] == 0
    assert not Path(old.path).exists() and Path(new.path).exists()
    assert not [one for one in Path(new.path).parent.iterdir() if ".making" in one.name]
    code, _, err = run("engine", "rm", "vllm", "--version", "0.31.0")
    assert code == 2 and "environment-missing" in err and "vllm 0.32.0 (cpu)" in err
    assert run("engine", "rm")[0] == 2


def test_rm_leaves_what_is_running(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = environment(home, "0.31.0")
    python = Path(made.path) / "bin" / "python"
    python.unlink()
    python.symlink_to(sys.executable)
    with subprocess.Popen([str(python), "-c", "print(1, flush=True); import time; time.sleep(60)"],
                          stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline()
        code, _, err = run("engine", "rm", "vllm")
        process.kill()
    assert code == 2 and "environment-in-use" in err and str(process.pid) in err and Path(made.path).exists()


def test_diff_says_what_changes_for_people_and_programs(run: Run) -> None:
    code, out, err = run("engine", "diff", "vllm", "0.31", "0.32")
    assert code == 0 and "`--allowed-origins` is `[]` by default" in out and "changes of" in err
    _, out, _ = run("engine", "diff", "vllm", "0.32.0", "0.33.0", "--json")
    said = json.loads(out)
    assert (said["schema"], said["from"], said["to"]) == ("modelkit.engine-diff/1", "0.32.0", "0.33.0")
    assert {"kind": "hidden", "word": "--no-enable-prefix-caching", "to": "--disable-prefix-caching"}.items() <= next(
        one for one in said["changes"] if one["word"] == "--no-enable-prefix-caching").items()


@pytest.mark.parametrize("words", [["vllm"], ["vllm", "0.32"], ["vllm", "0.1", "0.32"], ["nobody", "1", "2"], []])
def test_diff_wants_two_versions_that_it_knows(run: Run, words: list[str]) -> None:
    code, _, err = run("engine", "diff", *words)
    assert code == 2 and "hint" in err


# doctor


@pytest.fixture
def looked(home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Look:
    """Findings of doctor by what they are about, on a machine with these GPUs and clients."""
    def look(gpus: tuple[Device, ...] = (), there: tuple[Client, ...] = (), problems: tuple[str, ...] = ()) -> Found:
        here = Hardware("here", gpus, cpus=2, ram=24 << 30, ram_free=9 << 30, cpu_bandwidth=36e9)
        monkeypatch.setattr(hardware, "look", lambda: Machine(here, "550.54.15" if gpus else "", problems))
        monkeypatch.setattr(machine, "clients", lambda: there)
        code, out, _ = run("doctor", "--json")
        by: dict[str, list[doctor.Finding]] = {}
        for one in json.loads(out)["findings"]:
            by.setdefault(one["what"], []).append(doctor.Finding(**one))
        return code, by
    return look


def test_doctor_on_a_machine_with_a_gpu(home: Path, looked: Look) -> None:
    environment(home, "0.32.0")
    gpu = Device("NVIDIA L4", "cuda", 22 << 30, 21 << 30, 300e9, capability=89)
    code, found = looked((gpu, replace(gpu, free=None, link="pcie")))
    assert code == 0 and found["gpu"][0].found == (
        "NVIDIA L4, 22.0 GiB (21.0 GiB free), 300 GB/s, sm_89, driver 550.54.15; "
        "holds about 31B at Q4_K_M, 9.4B at 16 bits")
    assert found["gpu"][1].found.startswith("NVIDIA L4, 22.0 GiB, 300 GB/s, pcie to the others, sm_89")
    assert found["memory"][0].found.startswith("24.0 GiB (9.0 GiB free), 2 cores read 36 GB/s; holds about 34B")
    assert found["vllm on gpu"][0].verdict == "warn" and "--variant cuda" in found["vllm on gpu"][0].fix
    assert found["vllm 0.32.0"][0].verdict == found["llama.cpp 2026.10.11549"][0].verdict == "ok"
    environment(home, "0.32.0", "cuda")
    assert "vllm on gpu" not in looked((gpu,))[1] and "vllm on gpu" not in looked()[1]
    (one,) = looked(problems=("it has failed",))[1]["gpu"]
    assert one.verdict == "warn" and "it has failed" in one.found and one.fix
    assert looked()[1]["gpu"][0].found.startswith("none is seen")


def test_doctor_says_who_provides_llama_cpp_and_what_our_own_engine_lacks(home: Path, looked: Look,
                                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_providers, "lacking", lambda: ("llguidance",))
    (one,), (mine,) = (looked()[1][what] for what in ("engine llama.cpp (dev)", "llama-cpp-python"))
    assert one.verdict == "ok" and "xllamacpp" in one.found and "lacks llguidance" in one.found
    assert mine.verdict == "warn" and "without llguidance" in mine.found and "pip install" in mine.fix
    environment(home, "0.3.36", engine="llama.cpp")
    _, found = looked()
    (one,) = found["engine llama.cpp (dev)"]
    assert one.found.startswith("0.3.36 cpu, llama-cpp-python in its environment; ")
    assert "also here: xllamacpp" in one.found
    assert found["llama-cpp-python 0.3.36"][0].verdict == "ok"
    assert found["tool quantizer"][0].found == "llama-cpp-python 0.3.36"


def test_doctor_fails_where_a_grave_weakness_is_installed(home: Path, looked: Look) -> None:
    environment(home, "0.29.0")
    code, found = looked()
    grave = [one for one in found["vllm 0.29.0"] if one.verdict == "fail"]
    assert code == 1 and grave and "PYSEC-2026-4353 (high)" in grave[0].found
    assert all("0.3" in one.fix and "engine rm vllm --version 0.29.0" in one.fix for one in grave)
    assert not [one for one in found["vllm 0.29.0"] if "CVE-2026-114053" in one.found]  # out of our reach


def test_doctor_names_clients_that_are_absent_and_warns_of_broken_ones(looked: Look) -> None:
    code, found = looked((), (Client("helm", ("production-stack",), False),
                              Client("kubectl", ("kserve",), True, "1.32"),
                              Client("docker", ("compose",), True, "27.3", "cannot connect")))
    assert [found[f"client {name}"][0].verdict for name in ("helm", "kubectl", "docker")] == ["ok", "ok", "warn"]
    assert found["client docker"][0].fix and code == 0
    assert found["gpu"][0].verdict == "ok"


# check


def test_check_says_what_it_knows_of_engines_at_the_locked_version(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "Modelfile"
    path.write_text("FROM hf.co/org/model\nSTAGE prod {\n  ENGINE vllm >=0.31\n  FLAG --grpc-port 1\n}\n")
    assert run("check", str(path))[0] == 0
    (tmp_path / "Modelfile.lock").write_text('version = 1\n[[stage]]\nname = "prod"\nengine = "0.31.0"\n')
    code, out, _ = run("check", str(path), "--json")
    (error,) = [one for one in json.loads(out)["diagnostics"] if one["severity"] == "error"]
    assert code == 1 and error["rule"] == "flag-not-in-engine" and error["start"]["line"] == 4
    assert "vllm 0.31.0 has no flag `--grpc-port`" in error["message"]
    (tmp_path / "Modelfile.lock").write_text("no lock at all")
    assert run("check", str(path))[0] == 0

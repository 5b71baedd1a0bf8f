"""Units of systemd and of Podman: every key is one that its manual has, every text arrives as it was.

Quadlet keys are those of podman-systemd.unit(5) of Podman 5 (github.com/containers/podman, docs/source/markdown/
podman-systemd.unit.5.md, commit 00b40dba); its generator reads nothing else. Plain units are read by systemd itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelkit import engines
from modelkit.failure import Failure
from modelkit.platforms import machine
from modelkit.platforms.manifests import DIRECTORY, Command
from modelkit.platforms.unit_file import command, text, word
from tests.unit.platforms.cases import CASES, plan_of, rendered

_CONTAINER = """
AddCapability AddDevice AddHost Annotation AutoUpdate CgroupsMode ContainerName ContainersConfModule DNS DNSOption
DNSSearch DropCapability Entrypoint Environment EnvironmentFile EnvironmentHost Exec ExposeHostPort GIDMap GlobalArgs
Group GroupAdd HealthCmd HealthInterval HealthLogDestination HealthMaxLogCount HealthMaxLogSize HealthOnFailure
HealthRetries HealthStartPeriod HealthStartupCmd HealthStartupInterval HealthStartupRetries HealthStartupSuccess
HealthStartupTimeout HealthTimeout HostName Image IP IP6 Label LogDriver LogOpt Mask Memory Mount Network NetworkAlias
NoNewPrivileges Notify PidsLimit Pod PodmanArgs PublishPort Pull ReadOnly ReadOnlyTmpfs ReloadCmd ReloadSignal Retry
RetryDelay Rootfs RunInit SeccompProfile Secret SecurityLabelDisable SecurityLabelFileType SecurityLabelLevel
SecurityLabelNested SecurityLabelType ShmSize StartWithPod StopSignal StopTimeout SubGIDMap SubUIDMap Sysctl Timezone
Tmpfs UIDMap Ulimit Unmask User UserNS Volume WorkingDir
"""
KEYS = {
    "Container": frozenset(_CONTAINER.split()),
    "Network": frozenset(["NetworkName"]), "Volume": frozenset(["VolumeName"]),
    "Unit": frozenset(["Description", "Wants", "After"]),
    "Service": frozenset(["Restart", "RestartSec", "TimeoutStartSec", "TimeoutStopSec"]),
    "Install": frozenset(["WantedBy"]),
}
Unit = dict[str, list[tuple[str, str]]]


def parsed(content: str) -> Unit:
    """Sections and their keys; fails for anything that is neither."""
    found: Unit = {}
    section = ""
    for line in content.splitlines():
        if line.startswith("["):
            section = line.strip("[]")
            found.setdefault(section, [])
        elif line.strip():
            key, equals, value = line.partition("=")
            assert equals and key.isalnum() and value, line
            found[section].append((key, value))
    return found


def split(line: str) -> list[str]:
    """A command line as systemd.service(5) says it is read, for a system without specifiers or variables."""
    words, current, quoted, at, begun = list[str](), "", "", 0, False
    line = line.replace("%%", "%")
    while at < len(line):
        letter = line[at]
        if letter == "\\":
            current, at, begun = current + line[at + 1], at + 1, True
        elif quoted:
            quoted, current = ("", current) if letter == quoted else (quoted, current + letter)
        elif letter in "\"'":
            quoted, begun = letter, True
        elif letter in " \t":
            if begun:
                words.append(current)
            current, begun = "", False
        else:
            current, begun = current + letter, True
        at += 1
    assert not quoted, "a quote stays open"
    return [one.replace("$$", "$") for one in (*words, *([current] if begun else []))]


WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t"), max_size=40)


@given(st.lists(WORDS | st.sampled_from(["%h", "$HOME", "${X}", "a b", '"', "\\n", "'", ";", "#", "", "{\"a\": 1}"])))
def test_every_text_arrives(words: list[str]) -> None:
    assert split(command(words)) == words


@given(WORDS)
def test_a_text_alone_knows_specifiers_only(said: str) -> None:
    assert text(said).replace("%%", "%") == said
    assert split(word(said).replace("$", "$$")) == [said]


def test_a_line_break_is_refused() -> None:
    for write in (text, word):
        with pytest.raises(Failure):
            write("a\nExecStart=/bin/sh")


def accepted(platform: str) -> list[str]:
    found = []
    for case in CASES:
        try:
            rendered(case, platform)
        except Failure:
            continue
        found.append(case)
    return found


@pytest.mark.parametrize("case", accepted("quadlet"))
def test_a_quadlet_says_what_podman_knows(case: str) -> None:
    found = rendered(case, "quadlet")
    plan, container = found.plan, engines.container(found.plan)
    files = {file.path: file.content for file in found.files}
    units = {path: parsed(content) for path, content in files.items()
             if path.endswith((".container", ".network", ".volume"))}
    assert f"{machine.unit_name(plan)}.container" in units
    for path, unit in units.items():
        for section, lines in unit.items():
            assert {key for key, _ in lines} <= KEYS[section], path
    own = [unit for path, unit in units.items() if path.endswith(".container")
           and ("EnvironmentFile", "./environment") in unit["Container"]]
    assert len(own) == machine.replicas(plan)
    for unit in own:
        said = dict(unit["Container"])
        assert "@sha256:" in said["Image"] and said["ReadOnly"] == said["NoNewPrivileges"] == "true"
        assert split(said["Exec"]) == list(container.args)
        assert int(dict(unit["Service"])["TimeoutStopSec"]) > int(said["StopTimeout"])
        for key, value in unit["Container"]:  # what a unit names is in the bundle
            source = value.partition(":")[0]
            if key == "Volume" and source.startswith("./"):
                assert any(name.startswith(source[2:] + "/") for name in files)
            if key == "Network" or (key == "Volume" and source.endswith(".volume")):
                assert source in files
    assert f"PublishPort={plan.host if plan.host[0].isdigit() else '127.0.0.1'}:{plan.port}:" in "".join(files.values())
    lines = dict(line.partition("=")[::2] for line in files["environment"].splitlines())
    assert {name: lines[name] for name in container.env} == container.env


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize("case", accepted("systemd"))
def test_systemd_reads_the_unit(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "a home with 100% of blanks"))
    (file,) = rendered(case, "systemd").files
    assert verify(tmp_path, file.path, file.content) == ""


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
@pytest.mark.parametrize(("old", "new"), [
    ("Type=notify", "Type=sometimes"), ("KillMode=mixed", "KillModes=mixed"), ("TimeoutStopSec=", "TimeoutStopSec=x"),
    ("ExecStart=/", "ExecStart=relative/")])
def test_systemd_would_say_what_is_wrong(old: str, new: str, tmp_path: Path) -> None:
    (file,) = rendered("plain", "systemd").files
    assert old in file.content
    assert verify(tmp_path, file.path, file.content.replace(old, new))


def verify(folder: Path, name: str, content: str) -> str:
    """What systemd has to say about a unit of a user."""
    (folder / name).write_text(content)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(folder), "SYSTEMD_LOG_COLOR": "0"}
    done = subprocess.run(["systemd-analyze", "--user", "verify", folder / name], check=False, capture_output=True,
                          text=True, timeout=60, env=environment)
    return "\n".join(line for line in done.stderr.splitlines() if name in line)


def test_the_unit_runs_this_modelkit(tmp_path: Path) -> None:
    (file,) = rendered("plain", "systemd").files
    words = split(dict(parsed(file.content)["Service"])["ExecStart"])
    assert words[:3] == [sys.executable, "-m", "modelkit"] and words[3:5] == ["up", "--here"]


@pytest.mark.parametrize("key", ["sk-plain", 'a"b\\c', "$HOME `id` 100%", "sp ace'quote"])
def test_the_key_is_written_as_systemd_reads_it(key: str, tmp_path: Path) -> None:
    """The commands of `up`, run: the file is its owner's alone, the unit is there, a second run changes nothing."""
    found = rendered("api-key", "systemd")
    assert found.client is not None
    bundle, calls = tmp_path / "bundle", tmp_path / "calls"
    bundle.mkdir()
    (bundle / found.files[0].path).write_text(found.files[0].content)
    (tmp_path / "systemctl").write_text(f'#!/bin/sh\necho "$*" >> "{calls}"\n')
    (tmp_path / "systemctl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path), "SUPPORT_API_KEY": key}
    for _ in range(2):
        run(tuple(words for words in found.client.up if words[0] != "mkdir"), bundle, environment)
    written = tmp_path / ".config/modelkit/support-prod/api-key.env"
    assert written.stat().st_mode & 0o777 == 0o600
    name, _, value = written.read_text().rstrip("\n").partition("=")
    assert (name, value[0], value[-1]) == ("SUPPORT_API_KEY", '"', '"')
    assert split(value.replace("%", "%%").replace("$", "$$")) == [key]
    assert (tmp_path / ".config/systemd/user/support-prod.service").read_text() == found.files[0].content
    assert calls.read_text().count("daemon-reload") == 1 and calls.read_text().count("start --no-block") == 2
    run(found.client.down, bundle, environment)
    assert not (tmp_path / ".config/systemd/user/support-prod.service").exists() and not written.exists()


def run(commands: tuple[Command, ...], bundle: Path, environment: dict[str, str]) -> None:
    """A client's commands, with the bundle's folder where they name it."""
    for words in commands:
        subprocess.run([one.replace(DIRECTORY, str(bundle)) for one in words], env=environment, check=True)


def test_the_folder_of_a_quadlet_is_put_in_its_place_once(tmp_path: Path) -> None:
    found = rendered("replicas", "quadlet")
    assert found.client is not None
    bundle, calls = tmp_path / "bun dle", tmp_path / "calls"
    for file in found.files:
        (bundle / file.path).parent.mkdir(parents=True, exist_ok=True)
        (bundle / file.path).write_text(file.content)
    for program in ("systemctl", "podman"):
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$*" >> "{calls}"\n')
        (tmp_path / program).chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    place = tmp_path / ".config/containers/systemd/support-prod"
    for content, reloads in (("one", 1), ("one", 1), ("two", 2)):
        (bundle / "etc/more").write_text(content)
        run(found.client.up, bundle, environment)
        assert (place / "etc/more").read_text() == content and (place / "support-prod.container").is_file()
        assert calls.read_text().count("daemon-reload") == reloads
    assert [p.name for p in place.parent.iterdir()] == ["support-prod"]
    run(found.client.down, bundle, environment)
    assert not place.exists()


def test_the_plan_is_pure() -> None:
    assert rendered("texts", "quadlet") == rendered("texts", "quadlet")
    assert plan_of("texts", "quadlet") == plan_of("texts", "quadlet")

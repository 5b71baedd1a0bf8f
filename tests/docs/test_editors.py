"""docs/editors.md: what it tells people to write into other programs' files is valid there, and does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from pre_commit.clientlib import load_config, load_manifest

from modelkit import __version__

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "editors.md").read_text("utf-8")


def block(language: str, start: str) -> str:
    """The fenced block of that language whose text starts so."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (found,) = [text for name, text in blocks if name == language and text.startswith(start)]
    return str(found)


def test_versions_are_this_one() -> None:
    assert set(re.findall(r"modelkit[-@]v?(\d[\d.]*\d)|rev: v(\S+)", PAGE)) == {(__version__, ""), ("", __version__)}


def test_the_hooks_are_ours_and_the_file_is_pre_commits(tmp_path: Path) -> None:
    path = tmp_path / ".pre-commit-config.yaml"
    path.write_text(block("yaml", "repos:"))
    (repository,) = load_config(str(path))["repos"]
    ours = {hook["id"] for hook in load_manifest(str(ROOT / ".pre-commit-hooks.yaml"))}
    assert {hook["id"] for hook in repository["hooks"]} == ours


def test_the_workflow_is_githubs() -> None:
    schema = get_builtin_schema("vendor.github-workflows")
    # `on` is a boolean to YAML 1.1, which PyYAML reads; GitHub reads it as the word.
    workflow = {"on" if key is True else key: value for key, value in yaml.safe_load(block("yaml", "name:")).items()}
    jsonschema.Draft7Validator(schema).validate(workflow)


def test_helix_starts_the_server() -> None:
    said = tomllib.loads(block("toml", "[language-server"))
    (language,) = said["language"]
    (name,) = language["language-servers"]
    server = said["language-server"][name]
    assert [server["command"], *server["args"]] == ["modelkit", "lsp"]


def test_the_packers_line_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from editors import vsix

    line = next(line for line in block("sh", "python").splitlines() if line.startswith("python -m editors.vsix"))
    words = line.partition("  #")[0].split()[3:]
    modules = tmp_path / "vscode-languageclient"
    modules.mkdir()
    (modules / "package.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    assert vsix.main([*words, "--node-modules", str(tmp_path)]) == 0
    assert re.search(r"--install-extension (\S+)", PAGE)[1] == f"dist/modelkit-{__version__}.vsix"  # type: ignore[index]
    assert (tmp_path / f"dist/modelkit-{__version__}.vsix").is_file()


@pytest.mark.parametrize(("name", "attributes"), [
    ("Modelfile", {"text": "set", "eol": "lf"}), ("a/support.Modelfile", {"text": "set", "eol": "lf"}),
    ("Modelfile.dev", {"text": "set", "eol": "lf"}), ("a/Modelfile.lock", {"eol": "lf", "linguist-generated": "set"}),
    ("support.Modelfile.lock", {"linguist-generated": "set"}), ("m.gguf", {"text": "unset", "diff": "unset"}),
    ("app.py", {"text": "unspecified", "eol": "unspecified"}),
])
def test_git_keeps_line_ends_as_they_are(name: str, attributes: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / ".gitattributes").write_text(block("", "Modelfile "))
    environment = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", "init", "-q", tmp_path], check=True, env=environment, timeout=60)
    done = subprocess.run(["git", "-C", tmp_path, "check-attr", *attributes, "--", name], check=True, text=True,
                          capture_output=True, env=environment, timeout=60)
    assert dict(re.findall(r": (\S+): (\S+)$", done.stdout, re.MULTILINE)) == attributes

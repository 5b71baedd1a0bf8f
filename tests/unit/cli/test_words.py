"""How the command line's words are read: options anywhere, and none behind `--`."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.cli.parser import build


@pytest.mark.parametrize(("line", "found"), [
    ("check a --fix -q b", {"files": ["a", "b"], "fix": True, "quiet": True}),
    ("check -q -- -x --fix a", {"files": ["-x", "--fix", "a"], "fix": False, "quiet": True}),
    ("check -- -", {"files": ["-"]}), ("check a -- b", {"files": ["a", "b"]}),
    ("check -- a --", {"files": ["a", "--"]}),
    ("chat a -f x b", {"question": ["a", "b"], "file": "x"}), ("chat -- -x", {"question": ["-x"], "file": None}),
    ("up -s prod Modelfile", {"stage": "prod", "files": ["Modelfile"]}),
    ("import vllm -o out -- vllm serve --port 1", {"source": ["vllm", "serve", "--port", "1"]}),
])
def test_words_and_options(line: str, found: dict[str, Any]) -> None:
    said = vars(build().parse_args(line.split()))
    assert {name: said[name] for name in found} == found


@pytest.mark.parametrize("line", ["check --nope", "up a --nope=1", "init a b", "nope", "check --format x"])
def test_what_is_no_option_is_one_error(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        build().parse_args(line.split())
    assert left.value.code == 2
    assert capsys.readouterr().err.startswith("error[usage]: ")

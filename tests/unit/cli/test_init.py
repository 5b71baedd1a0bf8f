"""`modelkit init`: a good file from flags or answers, and nothing written over."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.cli.starter import PLATFORM_WORDS, Answers, written
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.format import formatted
from modelkit.language.layers import effective
from modelkit.language.modelfile import Modelfile
from modelkit.language.source import Source
from modelkit.planning.forms import wanted
from tests.unit.cli.conftest import Run

SAID = ["init", "--name", "support", "--from", "hf.co/Qwen/Qwen3-0.6B", "--system", "Be brief."]


def compiled(path: str = "Modelfile") -> Modelfile:
    source = Source.read(Path(path))
    modelfile, found = compile_source(source)
    assert modelfile is not None and [d.rule.id for d in found if d.severity.value != "info"] == []
    assert formatted(source) == source.text
    return modelfile


def test_flags_make_the_file(run: Run) -> None:
    code, out, err = run(*SAID, "--context", "2048", "--platform", "kubernetes")
    assert (code, out) == (0, "Modelfile\n")
    assert "modelkit up Modelfile -s dev" in err
    modelfile = compiled()
    assert modelfile.name.value == "support"
    dev, prod = effective(modelfile, "dev"), effective(modelfile, "prod")
    assert dev.base and dev.base.value == "hf.co/Qwen/Qwen3-0.6B"
    assert dev.system and dev.system.value == "Be brief."
    assert dev.parameters["num_ctx"].value == 2048
    assert dev.quantize and dev.quantize.value.name == "Q4_K_M" and prod.quantize is None
    assert wanted(modelfile, "prod").platform == "kubernetes"
    assert prod.serve["api_key"].value == "env:SUPPORT_API_KEY" and "api_key" not in dev.serve


def test_by_itself_it_is_a_small_model_called_like_its_folder(run: Run) -> None:
    assert run("init", "mario")[:2] == (0, "mario/Modelfile\n")
    modelfile = compiled("mario/Modelfile")
    assert modelfile.name.value == "mario"
    assert modelfile.layer.base and modelfile.layer.base.value.startswith("pypi://")
    assert run("check", "mario")[0] == run("fmt", "--check", "mario")[0] == 0


@pytest.mark.parametrize("platform", PLATFORM_WORDS)
def test_every_platform_makes_a_good_file(platform: str, tmp_path: Path) -> None:
    for base in (Answers.base, "hf.co/Qwen/Qwen3-0.6B", "llama3.2:3b-instruct-q4_K_M", "./model.gguf"):
        text, found = written(Answers(name="a", base=base, platform=platform, engine=">=0.32,<0.33"))
        assert [d for d in found if d.severity.value != "info"] == []
        (tmp_path / "Modelfile").write_text(text)
        assert wanted(compiled(str(tmp_path / "Modelfile")), "prod").platform == platform


def test_json_says_what_was_written(run: Run) -> None:
    code, out, _ = run(*SAID, "--json", "bot.Modelfile")
    assert code == 0
    assert json.loads(out) == {"schema": "modelkit.init/1", "file": "bot.Modelfile", "name": "support",
                               "base": "hf.co/Qwen/Qwen3-0.6B", "platform": "process", "findings": []}


def test_the_range_of_versions_is_what_is_pinned(run: Run) -> None:
    from packaging.specifiers import SpecifierSet

    from modelkit.engines.requirements import requirement_set

    run(*SAID)
    engine = effective(compiled(), "prod").engine
    assert engine and requirement_set("vllm", None, "cpu").version in SpecifierSet(engine.value.version)


def test_nothing_is_written_over(run: Run) -> None:
    Path("Modelfile").write_text("FROM mine\n")
    Path("link.Modelfile").symlink_to("nowhere")
    Path("plain").write_text("mine\n")
    for words in ((), ("Modelfile",), (".",), ("link.Modelfile",), ("plain",)):
        code, out, err = run("init", *words)
        assert (code, out) == (2, "")
        assert "error[exists]" in err
    assert Path("Modelfile").read_text() == "FROM mine\n"
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(("words", "code", "hint"), [
    (["--name", "a b"], "bad-name", "a-b"), (["--name", ""], "bad-name", "letters"),
    (["--name", "a\nFROM b"], "bad-name", "letters"),
    (["--from", "x y"], "bad-answer", "./"), (["--from", ""], "bad-answer", ""),
    (["--from", "s3://x"], "bad-answer", "pypi"), (["--from", "x\nSYSTEM y"], "bad-answer", "line breaks"),
    (["--system", 'a"""\nFROM evil'], "bad-answer", "behind"), (["--system", "a\u200db"], "bad-answer", "joiners"),
    (["--context", "0"], "bad-context", "256"), (["--platform", "k8s"], "bad-platform", "kubernetes"),
    (["--platform", "lmstudio"], "bad-platform", "process"), (["made/Modelfile", "--name", "-"], "bad-name", ""),
])
def test_a_bad_answer_is_one_error_and_no_file(run: Run, words: list[str], code: str, hint: str) -> None:
    exit_code, out, err = run("init", *words)
    assert (exit_code, out) == (2, "")
    assert f"error[{code}]" in err and hint in err
    assert list(Path().rglob("*odelfile")) == [] and not Path("made").exists()


@pytest.mark.parametrize(("word", "path"), [
    ("a/b/Modelfile", "a/b/Modelfile"), ("a/b", "a/b/Modelfile"), ("bot.Modelfile", "bot.Modelfile"),
    ("Modelfile.dev", "Modelfile.dev"),
])
def test_the_folder_is_made_if_need_be(run: Run, word: str, path: str) -> None:
    assert run("init", word)[:2] == (0, f"{path}\n")
    assert compiled(path).layer.base is not None


def test_a_folder_that_cannot_be_is_one_error(run: Run) -> None:
    Path("plain").write_text("mine\n")
    code, _, err = run("init", "plain/Modelfile")
    assert code == 2 and "error[exists]: plain is there already" in err


class _Person(io.StringIO):
    """Answers at a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def ask(run: Run, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Run it before a person who answers with these lines; stderr is what the person sees."""
    def ask(*words: str, answers: str) -> tuple[int, str, str]:
        seen = _Person()
        monkeypatch.setattr("sys.stdin", _Person(answers))
        monkeypatch.setattr("sys.stderr", seen)
        code, out, _ = run(*words)
        return code, out, seen.getvalue()

    return ask


def test_a_person_is_asked_what_no_flag_says(ask: Callable[..., tuple[int, str, str]]) -> None:
    code, _, seen = ask("init", "--context", "512", answers="support\nhf.co/Qwen/Qwen3-0.6B\n\ncompose\n")
    assert code == 0
    assert seen.count("]: ") == 4
    modelfile = compiled()
    assert (modelfile.name.value, wanted(modelfile, "prod").platform) == ("support", "compose")
    assert modelfile.layer.system and modelfile.layer.system.value.startswith("You are a helpful assistant")


def test_a_wrong_answer_is_explained_and_asked_again(ask: Callable[..., tuple[int, str, str]]) -> None:
    answers = "my bot\nmy-bot\nx y\nllama3.2:3b\nYou are terse.\nk8s\nkubernetes\n"
    code, _, seen = ask("init", answers=answers)
    assert code == 0
    assert "`my-bot` would do" in seen and "holds a blank" in seen and "did you mean `kubernetes`?" in seen
    assert compiled().name.value == "my-bot"


def test_who_goes_away_leaves_no_file(ask: Callable[..., tuple[int, str, str]]) -> None:
    code, _, seen = ask("init", answers="support\n")
    assert code == 2 and "error[no-answer]" in seen
    assert not Path("Modelfile").exists()


def test_flags_and_yes_ask_nothing(ask: Callable[..., tuple[int, str, str]]) -> None:
    assert "]: " not in ask("init", "--yes", answers="")[2]
    assert compiled().layer.base is not None


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40) | st.lists(st.sampled_from(['"', '"""', "\n", "\r\n", "a", " ", "#", "FROM x", "}", "{{"]),
                                       max_size=8).map("".join))
def test_a_system_prompt_is_kept_as_it_is_or_refused(text: str) -> None:
    answers = Answers(name="a", base="llama3.2:3b", system=text)
    try:
        found = written(answers)[0]
    except Failure:
        return
    modelfile, _ = compile_source(Source("Modelfile", found))
    assert modelfile is not None
    assert (modelfile.layer.system.value if modelfile.layer.system else "") == text.strip()
    plain = written(replace(answers, system="x"))[0]
    assert list(modelfile.stages) == list(compile_source(Source("Modelfile", plain))[0].stages)  # type: ignore[union-attr]

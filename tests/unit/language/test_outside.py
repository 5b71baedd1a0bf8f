"""ARG, SYSTEMFILE and TEMPLATEFILE: what comes from outside of the file's text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.language.check import compile_source
from modelkit.language.layers import Effective, effective
from modelkit.language.outside import LARGEST, Outside, UnreadableFile, outside_of, read_text
from modelkit.language.source import Source
from tests.unit.language.outsides import BESIDE, FILES

FROM = "FROM llama3.2:3b\n"


def means(text: str, **arguments: str) -> Effective:
    modelfile, found = compile_source(Source("Modelfile", text), Outside(arguments, BESIDE.read))
    assert modelfile is not None, found
    return effective(modelfile, "dev")


def said(text: str, **arguments: str) -> list[tuple[str, str]]:
    """Each finding's rule and the author's text at its place."""
    found = compile_source(Source("Modelfile", text), Outside(arguments, BESIDE.read))[1]
    return [(one.rule.id, text[one.span.start : one.span.end]) for one in found if one.severity.value == "error"]


@pytest.mark.parametrize(("line", "system"), [
    ("SYSTEM Be ${A}.", "Be kind."), ("SYSTEM ${A}${B}", "kindand terse"), ("SYSTEM $${A} is ${A}", "${A} is kind"),
    ('SYSTEM """${A}\n${B}"""', "kind\nand terse"), ("SYSTEM ${C}", "<kind>"), ("SYSTEM $A ${ {A}", "$A ${ {A}"),
])
def test_a_variable_stands_for_its_value(line: str, system: str) -> None:
    text = f"ARG A kind\nARG B and terse\nARG C <${{A}}>\n{FROM}{line}\n"
    assert means(text).system.value == system  # type: ignore[union-attr]


def test_every_operand_is_replaced_before_it_is_typed() -> None:
    text = ("FROM llama3.2:${SIZE}\nARG SIZE 3b\nARG N\nPARAMETER num_ctx ${N}\nPARAMETER stop ${N}\n"
            "MESSAGE user ${N}?\nMESSAGE assistant ok\nSTAGE dev {\n  SERVE max_concurrency ${N}\n}\n")
    now = means(text, N="4096", SIZE="1b")
    assert now.base is not None and now.base.value == "llama3.2:1b"
    assert now.parameters["num_ctx"].value == now.serve["max_concurrency"].value == 4096
    assert now.stop[0].value == "4096" and now.messages[0].value.content == "4096?"


@pytest.mark.parametrize(("text", "found"), [
    (f"ARG A\n{FROM}SYSTEM ${{A}}\nPARAMETER num_ctx ${{A}}\n", [("missing-argument", "ARG A")]),
    (f"ARG A 1\n{FROM}SYSTEM x ${{B}}\n", [("unknown-variable", "${B}")]),
    (f"ARG A 1\n{FROM}SYSTEM x ${{}} ${{a b}}\n", [("unknown-variable", "${}"), ("unknown-variable", "${a b}")]),
    (f"ARG A x${{B}}\nARG B 1\n{FROM}", [("unknown-variable", "${B}")]),
    (f"ARG A x\n{FROM}PARAMETER num_ctx ${{A}}\n", [("bad-value", "${A}")]),
    (f"ARG K sesame\n{FROM}SERVE api_key ${{K}}\n", [("secret-in-file", "${K}")]),
    (f"{FROM}SYSTEMFILE none.txt\n", [("unreadable-file", "none.txt")]),
    (f"{FROM}TEMPLATEFILE broken.jinja\n", [("bad-template", "broken.jinja")]),
    (f"{FROM}TEMPLATEFILE broken.tmpl\n", [("bad-template", "broken.tmpl")]),
])
def test_mistakes_are_said_at_the_authors_text(text: str, found: list[tuple[str, str]]) -> None:
    assert said(text) == found


def test_values_do_not_grow_without_end() -> None:
    grown = "".join(f"ARG A{i} " + f"${{A{i - 1}}}" * 9 + "\n" for i in range(1, 12))
    text = "ARG A0 " + "x" * 100 + f"\n{grown}{FROM}"
    assert ("bad-value", ) in {one[:1] for one in said(text)}


def test_a_value_can_not_add_a_line() -> None:
    now = means(f"ARG A x\n{FROM}SYSTEM ${{A}}\n", A="a\nPARAMETER temperature 2")
    assert now.system is not None and now.system.value == "a\nPARAMETER temperature 2" and not now.parameters


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["$", "{", "}", "${A}", "$${A}", "A", " ", "\u00e9"]), max_size=12))
def test_a_file_without_arg_keeps_its_text(parts: list[str]) -> None:
    text = FROM + "SYSTEM x" + "".join(parts) + "x\n"
    source = Source("Modelfile", text)
    assert means(text).system.value == "x" + "".join(parts) + "x"  # type: ignore[union-attr]
    assert compile_source(source, Outside({"A": "1"})) == compile_source(source)


@pytest.mark.parametrize(("lines", "system"), [
    ("SYSTEMFILE prompt.txt", FILES["prompt.txt"]), ("SYSTEM a\nSYSTEMFILE prompt.txt", FILES["prompt.txt"]),
    ("SYSTEMFILE prompt.txt\nSYSTEM a", "a"), ("SYSTEM a\nSYSTEMFILE empty.txt", "a"),
    ("SYSTEM a\nSTAGE dev {\n  SYSTEMFILE prompt.txt\n}", FILES["prompt.txt"]),
    ("SYSTEMFILE prompt.txt\nSTAGE dev {\n  UNSET SYSTEM\n}", None),
])
def test_a_files_text_is_the_system_prompt(lines: str, system: str | None) -> None:
    now = means(f"{FROM}{lines}\n").system
    assert (now.value if now else None) == system


def test_a_prompt_said_twice_is_warned_of() -> None:
    found = compile_source(Source("Modelfile", f"{FROM}SYSTEM a\nSYSTEMFILE prompt.txt\n"), BESIDE)[1]
    assert [one.rule.id for one in found] == ["duplicate-scalar"]


@pytest.mark.parametrize(("name", "begins"), [("chat.jinja", "{% for"), ("chat.tmpl", "{{ .System"),
                                              ("plain.jinja", "{% if true %}")])
def test_a_files_text_is_the_template(name: str, begins: str) -> None:
    now = means(f"{FROM}TEMPLATEFILE {name}\n").template
    assert now is not None and now.value.startswith(begins) and now.value.endswith(FILES[name])


def test_where_a_text_is_from_is_said() -> None:
    modelfile, _ = compile_source(Source("Modelfile", f"{FROM}SYSTEMFILE prompt.txt\n"), BESIDE)
    assert modelfile is not None and modelfile.layer.system is not None
    assert modelfile.where(modelfile.layer.system.span) == "Modelfile:2 (prompt.txt)"


@pytest.mark.parametrize(("data", "text"), [
    (b"hi\n", "hi"), (b"hi\r\n", "hi"), (b"hi\n\n", "hi\n"), (b"\xff\xfeh\0i\0", "hi"), (b"\xef\xbb\xbfhi", "hi"),
    (b"x" * LARGEST, "x" * LARGEST), (b"", ""),
])
def test_reads_text_as_ollama_decodes_it(tmp_path: Path, data: bytes, text: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(tmp_path, "a.txt") == text
    assert outside_of(tmp_path / "Modelfile").read("./a.txt") == text  # type: ignore[misc]


def test_what_is_no_text_file_is_refused(tmp_path: Path) -> None:
    import os

    (tmp_path / "large").write_bytes(b"x" * (LARGEST + 1))
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("large", "folder", "pipe", "missing", "a\0b", "x" * 5000):
        with pytest.raises(UnreadableFile):
            read_text(tmp_path, name)

"""What is offered where, and what it replaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import ENGINES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.lexer import ROLES
from modelkit.language.metrics import METRICS
from modelkit.language.parameters import PARAMETERS
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import PRECISIONS
from modelkit.language.serve import SERVE_KEYS
from modelkit.lsp.completion import completions
from tests.unit.lsp.texts import marked


def offered(text: str, folder: Path | None = None) -> list[str]:
    """The labels that are offered at the mark, in their order."""
    return [item.label for item in completions(*marked(text, folder))]


def chosen(text: str, label: str, folder: Path | None = None, *, snippets: bool = False) -> str:
    """The text after one of them was chosen."""
    analysis, offset = marked(text, folder)
    edit = next(item.text_edit for item in completions(analysis, offset, snippets=snippets) if item.label == label)
    assert edit is not None
    span = analysis.places.span(edit.range)  # type: ignore[union-attr]
    whole = analysis.source.text
    return whole[: span.start] + edit.new_text + whole[span.end :]


IN_FILE = [row.keyword for row in INSTRUCTIONS.values() if "file" in row.where]
IN_TEST = [row.keyword for row in INSTRUCTIONS.values() if "test" in row.where]


@pytest.mark.parametrize(("text", "labels"), [
    ("¦", IN_FILE),
    ("FROM x\nPARA¦", IN_FILE),
    ('TEST "a" {\n  ¦\n}', IN_TEST),
    ('TEST "a" {\n  USER x\n}\n¦', IN_FILE),
    ("PARAMETER ¦", [*PARAMETERS]),
    ("SERVE ¦ 3", [*SERVE_KEYS]),
    ("PARAMETER use_mmap ¦", ["true", "false"]),
    ("PARAMETER temperature ¦", ["0.8"]),
    ("PARAMETER stop ¦", []),
    ("SERVE task ¦", ["chat", "embed", "rerank", "classify"]),
    ("SERVE api_key ¦", ["env:", "file:"]),
    ("SERVE nonsense ¦", []),
    ("MESSAGE ¦", [*ROLES]),
    ("MESSAGE user ¦", []),
    ("QUANTIZE ¦", ["auto", *PRECISIONS]),
    ("QUANTIZE auto ¦", [">=", "speed", "imatrix"]),
    ("QUANTIZE Q4_K_M ¦", ["imatrix"]),
    ("ENGINE ¦", [*ENGINES]),
    ("POLICY ¦", [*POLICIES]),
    ("STAGE prod {\n  POLICY locked\n  POLICY ¦\n}", [name for name in POLICIES if name != "locked"]),
    ("STAGE prod {\n  EXPECT ¦\n}", [*METRICS, "eval."]),
    ("STAGE prod {\n  EXPECT ttft.p95 ¦\n}", ["<=", ">=", "==", "!=", "<", ">"]),
    ("STAGE prod {\n  EXPECT tests ¦\n}", [">=", "<=", "==", "!=", "<", ">"]),
    ("STAGE prod {\n  EXPECT ttft.p95 <= ¦\n}", ["500ms"]),
    ('TEST "a" {\n  EXPECT ¦', ["not", *ASSERTIONS]),
    ('TEST "a" {\n  EXPECT not ¦', [*ASSERTIONS]),
    ('TEST "a" {\n  EXPECT finish_reason ¦', ["stop", "length", "tool_calls", "content_filter"]),
    ("STAGE ¦", ["experiment", "dev", "prod"]),
    ("STAGE prod {\n}\nSTAGE ¦", ["experiment", "dev"]),
    ("STAGE a ¦", ["EXTENDS"]),
    ("STAGE b EXTENDS prod {\n}\nSTAGE a EXTENDS ¦", ["experiment", "dev", "prod", "b"]),
    ("STAGE experiment {\n  TRY ¦\n}", ["QUANTIZE", "PARAMETER", "SERVE", "ENGINE"]),
    ("STAGE experiment {\n  TRY SERVE task chat ¦\n}", ["embed", "rerank", "classify"]),
    ("STAGE experiment {\n  TRY SERVE ¦\n}", [*SERVE_KEYS]),
    ("STAGE experiment {\n  TRY ENGINE vllm ¦\n}", [name for name in ENGINES if name != "vllm"]),
    ("STAGE experiment {\n  TRY QUANTIZE none ¦\n}", [name for name in PRECISIONS if name != "none"]),
    ("SERVE speculative ¦", ["off", "ngram", "draft_model"]),
    ("QUANTIZE auto >= ¦", [name for name in PRECISIONS if name != "none"]),
    ("UNSET SERVE ¦", [*SERVE_KEYS]),
    ("UNSET SERVE port ¦", []),
    ("UNSET SYSTEM ¦", []),
    ("STAGE prod {\n  PLATFORM comp¦\n}", ["process", "compose", "quadlet", "systemd", "kubernetes", "kserve",
                                           "production-stack", "llm-d", "ray", "skypilot"]),
    ("REPEAT 5 ¦", ["PASS"]),
    ("ADAPTER ./a.gguf ¦", ["AS"]),
    ("SYSTEM You are ¦", []),
    ('SYSTEM """You are\nFRO¦\n"""', []),
    ("# FRO¦", []),
    ("ARG SIZE 3b\nFROM llama3.2:${¦", ["SIZE"]),
    ('ARG SIZE 3b\nSYSTEM """\n# not a comment ${¦', []),
    ('ARG SIZE 3b\nSYSTEM """\n# not a comment ${¦\n"""', ["SIZE"]),
    ("NONSENSE ¦", []),
])
def test_what_is_offered(text: str, labels: list[str]) -> None:
    assert offered(text) == labels


def test_what_the_file_sets_is_what_unset_offers_first() -> None:
    text = "FROM x\nTEMPLATE a\nPARAMETER top_k 3\nSTAGE prod {\n  UNSET ¦\n}"
    assert offered(text)[:2] == ["TEMPLATE", "PARAMETER"]
    assert offered(text.replace("¦", "PARAMETER ¦"))[0] == "top_k"


def test_flags_are_those_of_the_stages_engine() -> None:
    text = "STAGE prod {\n  ENGINE {}\n  FLAG ¦\n}"
    assert "--max-num-seqs" in offered(text.replace("{}", "vllm >=0.32,<0.33"))
    assert "--max-num-seqs" not in offered(text.replace("{}", "llama-server"))


def test_a_flag_with_a_list_of_values_offers_them() -> None:
    assert "fp8" in offered("STAGE prod {\n  ENGINE vllm ==0.32\n  FLAG --kv-cache-dtype ¦\n}")


def test_parsers_are_those_of_the_stages_engine() -> None:
    assert {"hermes", "mistral"} <= set(offered("STAGE prod {\n  SERVE tool_parser ¦\n}"))
    assert "gigachat3" not in offered("STAGE dev {\n  SERVE tool_parser ¦\n}")


def test_the_newest_version_is_the_first_range() -> None:
    assert offered("ENGINE vllm ¦")[:2] == [">=0.33,<0.34", ">=0.33"]


@pytest.mark.parametrize(("text", "label", "after"), [
    ("PARA¦", "PARAMETER", "PARAMETER "),
    ("para¦ top_k 3", "PARAMETER", "PARAMETER top_k 3"),
    ("PARAMETER temp¦erature 1", "temperature", "PARAMETER temperature 1"),
    ("PARAMETER ¦temperature 1", "top_p", "PARAMETER top_ptemperature 1"),
    ("ARG A 1\nFROM x${¦", "A", "ARG A 1\nFROM x${A}"),
    ("ARG A 1\nFROM x${¦}", "A", "ARG A 1\nFROM x${A}"),
    ("# modelkit: ignore[bad-value, mach¦", "machine-path", "# modelkit: ignore[bad-value, machine-path"),
    ("# modelkit: ignore[mach¦]", "machine-path", "# modelkit: ignore[machine-path]"),
    ("👩‍🚀 \nSTAGE pr¦", "prod", "👩‍🚀 \nSTAGE prod"),
])
def test_what_a_choice_replaces(text: str, label: str, after: str) -> None:
    assert chosen(text, label) == after


def test_a_client_that_knows_snippets_gets_whole_blocks() -> None:
    assert chosen("STAGE dev {\n}\nSTA¦", "STAGE", snippets=True).endswith(
        "STAGE ${1|prod,experiment|} {\n  $0\n}")
    assert chosen("STA¦", "STAGE").endswith("STAGE ")


def test_other_tools_words_find_ours() -> None:
    (item,) = [one for one in completions(*marked("PARAMETER max_tok¦")) if one.label == "num_predict"]
    assert item.filter_text is not None and "max_tokens" in item.filter_text


def test_files_beside_the_modelfile(tmp_path: Path) -> None:
    for name in ("tone.gguf", "prompt.txt", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "small model.gguf").touch()
    assert offered("FROM ./¦", tmp_path) == ["./models/", "./tone.gguf"]
    assert offered("SYSTEMFILE ¦", tmp_path) == ["models/", "prompt.txt", "tone.gguf"]
    assert offered("ADAPTER ./models/¦", tmp_path) == ["./models/small model.gguf"]
    assert "./tone.gguf" in offered("FROM ¦", tmp_path)
    assert offered("FROM ./nowhere/¦", tmp_path) == []
    assert offered("FROM ~nobody-of-this-name/¦", tmp_path) == []
    assert offered('QUANTIZE IQ2_M imatrix ./models/¦', tmp_path) == ["./models/small model.gguf"]
    assert offered('TEST "a" {\n  EXPECT json ¦', tmp_path) == ["models/"]
    assert offered("SYSTEMFILE .¦", tmp_path) == [".hidden", "models/", "prompt.txt", "tone.gguf"]
    assert offered(f"SYSTEMFILE {tmp_path}/pro¦")[1] == f"{tmp_path}/prompt.txt"


def test_models_in_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modelkit.models.artifact import Artifact, Piece
    from modelkit.models.store import Store

    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path))
    piece = Piece("m.gguf", "sha256:" + "0" * 64, 5_000_000)
    Store().remember(Artifact("hf.co/a/b:Q4_K_M", "hf.co/a/b:Q4_K_M", "gguf", (piece,)))
    found = {item.label: item for item in completions(*marked("FROM ¦", tmp_path))}
    assert found["hf.co/a/b:Q4_K_M"].detail == "gguf, 5 MB, on this machine"
    assert {"hf.co/", "ollama://", "oci://", "https://", "pypi://", "./"} <= set(found)


def test_the_tools_of_a_test(tmp_path: Path) -> None:
    tools = [{"type": "function", "function": {"name": "refund", "description": "Pays back."}}]
    (tmp_path / "tools.json").write_text(json.dumps(tools))
    text = 'TEST "a" {\n  TOOLS tools.json\n  USER x\n  EXPECT tool_call ¦\n}'
    assert offered(text, tmp_path) == ["refund"]
    (tmp_path / "tools.json").write_text("[" * 100_000)
    assert offered(text, tmp_path) == []

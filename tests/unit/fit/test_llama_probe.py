"""Whoever asks llama.cpp for its sizes gets an answer, whatever becomes of the process that is asked."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from modelkit.models.formats.gguf import Header
from modelkit.models.formats.gguf_hollow import hollow
from modelkit.models.formats.gguf_reader import read_header
from modelkit.runtime.llama_probe import probe
from tests.unit.fit.llama_grid import serving
from tests.unit.fit.shapes import granite_hybrid, llama_8b, smollm2

SETTINGS = [serving(1024), serving(2048), serving(4096)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MODELKIT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def header(tmp_path: Path) -> Header:
    return read_header(smollm2(tmp_path / "model.gguf"))


def python(folder: Path, answer: str) -> list[str]:
    """A Python that answers with `answer`, which knows `asked`, `say(tokens)` and the number of times it was run."""
    script = folder / "python"
    script.write_text(f"""#!{sys.executable}
import json, os, signal, sys, time
from pathlib import Path
count = Path({str(folder)!r}) / "count"
runs = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(runs))
asked = json.load(sys.stdin)
def say(one):
    cells = one["tokens"]
    print(json.dumps({{"log": f"llama_kv_cache: size = {{cells}}.00 MiB ({{cells}} cells, 1 layers, 1/1 seqs)\\n"
                              "x:   CPU compute buffer size =  2.50 MiB\\n"}}), flush=True)
{answer}
""")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return [str(script)]


def test_answers_come_in_order_and_are_kept(tmp_path: Path, header: Header) -> None:
    command = python(tmp_path, "for one in asked['settings']: say(one)")
    found = probe(command, [header], SETTINGS)
    assert [one.kv >> 20 for one in found] == [1024, 2048, 4096]
    assert all(one.compute == {"ram": 5 << 19} and not one.problem for one in found)
    assert probe(["/nowhere/python"], [header], SETTINGS) == found  # nobody is asked again
    assert probe(command, [header], SETTINGS, version="another") == found
    assert (tmp_path / "count").read_text() == "2"


def test_a_setting_that_ends_the_process_costs_itself_alone(tmp_path: Path, header: Header) -> None:
    command = python(tmp_path, """
for one in asked['settings']:
    if one['tokens'] == 2048:
        os.kill(os.getpid(), signal.SIGABRT)
    say(one)
""")
    first, second, third = probe(command, [header], SETTINGS)
    assert (first.kv >> 20, second.problem, third.kv >> 20) == (1024, "llama.cpp ended with status -6", 4096)
    assert probe(["/nowhere/python"], [header], SETTINGS[1:2])[0].problem != second.problem  # that one was not kept


def test_what_llama_cpp_refuses_is_kept(tmp_path: Path, header: Header) -> None:
    command = python(tmp_path, "print(json.dumps({'problem': 'it needs flash attention'}))")
    found = probe(command, [header], SETTINGS[:1])
    assert found[0].refused and found[0].problem == "it needs flash attention"
    assert probe(["/nowhere/python"], [header], SETTINGS[:1]) == found


@pytest.mark.parametrize(("answer", "problem"), [
    pytest.param("sys.exit('llama.cpp cannot size it: no')", "llama.cpp cannot size it: no", id="no model"),
    pytest.param("time.sleep(60)", "llama.cpp did not say its sizes in time", id="too slow"),
    pytest.param("print('{nonsense}')", "Expecting property name", id="nonsense"),
    pytest.param("sys.exit(3)", "llama.cpp ended with status 3", id="silent")])
def test_no_answer_is_a_problem_and_no_traceback(tmp_path: Path, header: Header, answer: str, problem: str) -> None:
    found = probe(python(tmp_path, answer), [header], SETTINGS, seconds=2)
    assert len(found) == 3 and all(one.problem.startswith(problem) and not one.refused for one in found)


def test_nobody_to_ask_is_a_problem(header: Header) -> None:
    assert "No such file" in probe(["/nowhere/python"], [header], SETTINGS)[0].problem


def test_large_states_are_not_asked_for(tmp_path: Path) -> None:
    header = read_header(granite_hybrid(tmp_path / "hybrid.gguf"))
    found = probe(python(tmp_path, "sys.exit('asked')"), [header], [serving(2048, 8)])
    assert found[0].problem == "its states are too large to be allocated for a question"


def test_a_hollow_file_has_the_header_and_no_weights(tmp_path: Path) -> None:
    whole = read_header(llama_8b(tmp_path / "model.gguf"))
    made, path = hollow([whole]), tmp_path / "hollow.gguf"
    made.write(path)
    found = read_header(path)
    assert {name: (one.shape, one.type) for name, one in found.tensors.items()} == {
        name: (one.shape, one.type) for name, one in whole.tensors.items()}
    assert found.metadata == whole.metadata
    assert path.stat().st_size > 4 << 30 and path.stat().st_blocks * 512 < 1 << 20


def test_a_hollow_file_leaves_the_vocabulary_behind(tmp_path: Path) -> None:
    import gguf

    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_token_list([f"token{index}" for index in range(500)])
    writer.add_string("tokenizer.ggml.model", "gpt2")
    writer.add_uint16("split.count", 2)
    writer.add_array("llama.attention.head_count_kv", [1, 2, 3])
    writer.add_float32("llama.rope.freq_base", 1e4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    hollow([read_header(path)]).write(made := tmp_path / "hollow.gguf")
    found = read_header(made)
    assert found.metadata["llama.vocab_size"] == 500 and found.metadata["tokenizer.ggml.model"] == "no_vocab"
    assert found.numbers("llama.attention.head_count_kv") == (1, 2, 3)
    assert found.metadata["llama.rope.freq_base"] == 1e4
    assert not {"tokenizer.ggml.tokens", "split.count"} & found.metadata.keys()


def test_a_question_is_json() -> None:
    from dataclasses import asdict

    from modelkit.runtime.llama_probe import setting

    assert json.loads(json.dumps(asdict(setting(SETTINGS[0]))))["tokens"] == 1024

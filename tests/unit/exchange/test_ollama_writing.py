"""What `export ollama` writes, read by the second implementation of Ollama's parser."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.exchange.quoting import nearest
from modelkit.language.parameters import PARAMETERS
from tests.unit.exchange.exports import give, lost
from tests.unit.language import ollama_machine

FULL = '''\
NAME team/full
FROM hf.co/org/model-GGUF:Q8_0@0123456789012345678901234567890123456789
ADAPTER ./a.gguf AS kind
ADAPTER ./b.gguf
SYSTEM """a
b"""
TEMPLATE """{{ .Prompt }}"""
MESSAGE user hi
MESSAGE assistant " ho"
PARAMETER temperature 0.5
PARAMETER stop "x "
PARAMETER stop y
LICENSE Apache-2.0
SERVE keep_alive 5m
POLICY locked
STAGE dev {
  QUANTIZE Q8_0
  FLAG --numa distribute
  PARAMETER top_k 3
}
STAGE prod {
  UNSET SYSTEM
}
TEST "t" {
  USER hi
  EXPECT contains "a"
}
'''
TEXTS = st.text(st.sampled_from('"\'ab \t\n#}{\\\u00a0é'), min_size=1, max_size=24)


def test_a_stage() -> None:
    found = give("ollama", FULL)
    assert ollama_machine.run(found.text) == [
        ("model", "hf.co/org/model-GGUF:Q8_0"), ("adapter", "./b.gguf"), ("template", "{{ .Prompt }}"),
        ("system", "a\nb"), ("message", "user: hi"), ("message", "assistant:  ho"), ("temperature", "0.5"),
        ("top_k", "3"), ("stop", "x "), ("stop", "y"), ("license", "Apache-2.0")]
    assert lost(found) == [
        "FROM hf.co/org/model-GGUF:Q8_0@0123456789012345678901234567890123456789",
        "ADAPTER ./a.gguf AS kind", "SERVE keep_alive 300", "FLAG --numa distribute", "POLICY locked", "STAGE prod",
        'TEST "t"']


def test_unset_is_lost_and_other_stages_settings_do_not_show() -> None:
    found = give("ollama", FULL, "prod")
    assert ("top_k", "3") not in ollama_machine.run(found.text)
    assert not [value for name, value in ollama_machine.run(found.text) if name == "system"]
    assert "UNSET SYSTEM" in lost(found)


@pytest.mark.parametrize(("base", "written", "count"), [
    ("llama3.2:3b", "llama3.2:3b", 0), ("ollama://a/b:1", "a/b:1", 0), ("./x.gguf", "./x.gguf", 0),
    ("hf.co/o/m-GGUF", "hf.co/o/m-GGUF", 0), ("hf://o/m-GGUF:Q4_0", "hf.co/o/m-GGUF:Q4_0", 0),
    ("ollama://a@sha256:" + "0" * 64, "a:latest", 1), ("https://x.org/a/m.gguf", "./m.gguf", 1),
    ("oci://h.org/n/m:1", "./m.gguf", 1), ("pypi://d==1/p/m.Q4_1.gguf", "./m.Q4_1.gguf", 1),
])
def test_bases(base: str, written: str, count: int) -> None:
    found = give("ollama", f"NAME n\nFROM {base}\n")
    assert ollama_machine.run(found.text) == [("model", written)]
    assert len(lost(found)) == count


def test_a_quantization_picks_the_file_of_a_repository() -> None:
    assert "FROM hf.co/o/m-GGUF:Q4_K_M\n" in give("ollama", "NAME n\nFROM hf.co/o/m-GGUF\nQUANTIZE Q4_K_M\n").text
    found = give("ollama", "NAME n\nFROM ./m\nQUANTIZE Q4_K_M\n")
    assert lost(found) == ["QUANTIZE Q4_K_M"]


def test_a_jinja_template_is_lost() -> None:
    found = give("ollama", 'NAME n\nFROM x:1\nTEMPLATE """{% if a %}{% endif %}"""\n')
    assert lost(found) == ["TEMPLATE"]
    assert ollama_machine.run(found.text) == [("model", "x:1")]


@given(system=TEXTS, message=TEXTS, stop=TEXTS, numbers=st.dictionaries(
    st.sampled_from(["num_ctx", "top_k", "num_predict"]), st.integers(1, 9999)),
    temperature=st.floats(0, 2, allow_nan=False))
@settings(max_examples=150, deadline=None)
def test_any_text_reads_back(system: str, message: str, stop: str, numbers: dict[str, int], temperature: float) -> None:
    """Texts come as a Modelfile can hold them, so nothing of them may change."""
    from modelkit.exchange.quoting import written

    texts = {key: nearest(text)[0] for key, text in (("s", system), ("m", message), ("p", stop))}
    lines = ["NAME n", "FROM x:1", f"SYSTEM {written(texts['s']) or 'x'}", f"MESSAGE user {written(texts['m'])}",
             f"PARAMETER stop {written(texts['p'])}", f"PARAMETER temperature {temperature!r}"]
    lines += [f"PARAMETER {name} {value}" for name, value in numbers.items()]
    if not all(texts.values()):
        return
    found = ollama_machine.run(give("ollama", "\n".join(lines) + "\n").text)
    assert ("system", texts["s"]) in found and ("message", f"user: {texts['m']}") in found
    assert ("stop", texts["p"]) in found
    assert {float(value) for name, value in found if name == "temperature"} == {temperature}
    assert {name: int(value) for name, value in found if name in numbers} == numbers


def test_every_parameter_has_its_name_there() -> None:
    values = {"stop": "x", "use_mmap": "true"}
    lines = [f"PARAMETER {name} {values.get(name, '1')}" for name in PARAMETERS]
    found = ollama_machine.run(give("ollama", "NAME n\nFROM x:1\n" + "\n".join(lines) + "\n").text)
    assert {name for name, _ in found} == {"model", *PARAMETERS}

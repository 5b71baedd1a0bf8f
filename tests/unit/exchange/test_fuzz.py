"""No input of any kind gives anything but models or a Failure."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from modelkit.engines.flags import table, versions
from modelkit.exchange import FORMATS, read
from modelkit.exchange.lmstudio import PARAMETERS
from modelkit.exchange.sources import Imported, Source
from modelkit.failure import Failure
from modelkit.language.check import compile_source
from modelkit.language.source import Source as Text


def words(engine: str) -> list[str]:
    known = table(engine, versions(engine)[-1])
    assert known is not None
    return sorted(known.by_word)


VALUES = st.sampled_from(["1", "-1", "0.5", "x", "", "{", '{"a": 1}', '{"model": 3}', "a=b", "./x", "$X", "'", '"',
                          "\n", "9" * 40, "🙂", "hf.co/a/b", "true", "\x00", "{{ x }}"])
FLAGS = {engine: st.lists(st.sampled_from(words(engine)) | VALUES, max_size=12) for engine in ("vllm", "llama-server")}
KEYS = st.sampled_from(["models", "services", "model", "base", "cmd", "image", "command", "runtime_flags", "config",
                        "operation", "load", "fields", "key", "value", "filters", "setParams", "macros", "env", "ttl",
                        "sources", "context_size", "environment", "ports", "customFields", "effects", *PARAMETERS])
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | VALUES | KEYS
    | st.sampled_from(["vllm serve o/m", "llama-server -m x", "${a}", "${env.HOME}", "vllm/vllm-openai"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.integers(), inner, max_size=5), max_leaves=20)


def presume_sound(found: tuple[Imported, ...]) -> None:
    for one in found:
        assert (one.modelfile is None) == (one.problem is not None)
        json.dumps([loss.as_json() for loss in one.losses])
        if one.modelfile is not None:
            assert compile_source(Text("Modelfile", one.modelfile))[0] is not None


def attempt(format: str, text: str, argv: tuple[str, ...] = ()) -> None:
    try:
        found = read(Source(format, "file", text, Path("/nowhere"), argv))
    except Failure as failure:
        assert failure.message and "\n" not in failure.message
    else:
        presume_sound(found)


@pytest.mark.parametrize("engine", sorted(FLAGS))
def test_command_lines(engine: str) -> None:
    @given(FLAGS[engine])
    @settings(max_examples=120, deadline=None)
    def run(said: list[str]) -> None:
        start = ("vllm", "serve", "o/m") if engine == "vllm" else ("llama-server", "-m", "/m")
        attempt(engine, "", (*start, *said))

    run()


ENTRY = st.dictionaries(KEYS, DATA, max_size=5)
FIELDS = st.fixed_dictionaries({"fields": st.lists(st.fixed_dictionaries({"key": KEYS, "value": DATA}), max_size=6)})
WHOLE = st.fixed_dictionaries({}, optional={
    "models": st.dictionaries(st.sampled_from(["a", "b c", "é"]), ENTRY, max_size=2), "macros": ENTRY,
    "services": st.dictionaries(st.just("s"), ENTRY, max_size=1), "model": st.just("a/b") | DATA, "apiKeys": DATA,
    "base": st.just("org/repo") | DATA, "customFields": st.lists(ENTRY, max_size=2) | DATA,
    "config": st.fixed_dictionaries({"operation": FIELDS, "load": FIELDS}) | DATA})


@given(st.sampled_from(["compose", "llama-swap", "lmstudio"]), WHOLE | st.dictionaries(KEYS, DATA, max_size=5))
@settings(max_examples=150, deadline=None)
def test_documents(format: str, data: dict[str, object]) -> None:
    attempt(format, yaml.safe_dump(data, allow_unicode=True))


SIGNS = st.text(st.sampled_from("{}[]:&*-!|>\n \"'a#$,%@\t"), max_size=40)


@given(st.sampled_from(sorted(FORMATS)), st.text(max_size=60) | SIGNS)
@settings(max_examples=300, deadline=None)
def test_noise(format: str, text: str) -> None:
    attempt(format, text)
    attempt(format, f"FROM x\n{text}")
    attempt(format, f"vllm serve o/m {text}")

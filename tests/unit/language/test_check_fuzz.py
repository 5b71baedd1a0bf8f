"""`check` never raises: on noise, on files drawn from the tables, on files with one thing broken."""

from __future__ import annotations

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelkit.language.assertions import ASSERTIONS
from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Severity
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.excerpt import as_json, as_report
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.layers import effective
from modelkit.language.metrics import METRICS
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED
from modelkit.language.quantization import PRECISIONS
from modelkit.language.serve import SERVE_KEYS
from modelkit.language.source import Source

# Random text never spells a known name, so the names come from the tables and only the rest is noise.
WORDS = sorted({
    *INSTRUCTIONS, *PARAMETERS, *DEPRECATED, *REMOVED, *SERVE_KEYS, *ENGINES, *PLATFORMS, *PRECISIONS, *METRICS,
    *ASSERTIONS, *KNOWN_STAGES, "EXTENDS", "AS", "PASS", "not", "auto", "speed", ">=", "<=", "==", "{", "}", '"', '"""',
    "-1", "0", "1", "0.5", "2", "500ms", "90%", "1GB", "env:KEY", "file:k", "--flag", "--flag=1", "user", "${X}", "X",
    "./m.gguf", "hf.co/a/b", "llama3.2:3b", ">=0.32,<0.34", "{%", "{{", "\u200d", "\ufffd", "nan", "1e9999", "#", "=",
})  # fmt: skip
word = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))
line = st.lists(word, min_size=1, max_size=6).map(" ".join)
stage = st.tuples(st.sampled_from([*KNOWN_STAGES, "a", "b EXTENDS a", "a EXTENDS b", "c EXTENDS prod", ""]),
                  st.lists(line, max_size=5)).map(lambda s: f"STAGE {s[0]} {{\n" + "\n".join(s[1]) + "\n}")
test = st.lists(line, max_size=5).map(lambda lines: 'TEST "t" {\n' + "\n".join(lines) + "\n}")
file = st.lists(st.one_of(line, line, line, stage, test), max_size=12).map("\n".join)


def survives(text: str) -> None:
    source = Source("Modelfile", text)
    modelfile, found = compile_source(source)
    assert (modelfile is None) == any(d.severity is Severity.ERROR for d in found)
    assert all(0 <= d.span.start <= d.span.end <= len(text) for d in found)
    as_report(found, source)
    json.dumps([as_json(d, source) for d in found])
    if modelfile is not None:
        for name in (*KNOWN_STAGES, *modelfile.stages):
            assert effective(modelfile, name).base is not None
            modelfile.where(effective(modelfile, name).base.span)  # type: ignore[union-attr]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(file)
def test_words_of_the_tables_in_any_order(text: str) -> None:
    survives("FROM llama3.2:3b\n" + text)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(INSTRUCTIONS)), st.sampled_from(WORDS), st.text(max_size=30))
def test_any_operands(instruction: str, first: str, rest: str) -> None:
    for text in (f"{instruction} {first} {rest}", f"{instruction} {rest}"):
        survives(f"FROM x:1\n{text}\nSTAGE experiment {{\n{text}\n}}\nTEST \"t\" {{\n{text}\n}}\n")


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_noise(text: str) -> None:
    survives(text)

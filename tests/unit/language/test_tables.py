"""The tables agree with themselves, with the grammar, and with the tools whose words they take over."""

from __future__ import annotations

import math

import pytest

from modelkit.language import grammar
from modelkit.language.assertions import ASSERTIONS, read_operand
from modelkit.language.engine_words import (
    DEFAULT_ENGINE,
    DEFAULT_PLATFORM,
    ENGINE_SYNONYMS,
    ENGINES,
    PLATFORM_SYNONYMS,
    PLATFORMS,
)
from modelkit.language.instructions import INSTRUCTIONS, OLLAMA_INSTRUCTIONS
from modelkit.language.kinds import (
    Boolean,
    Choice,
    Duration,
    Kind,
    Real,
    SecretReference,
    Share,
    Size,
    Text,
    Whole,
    Word,
    Wrong,
)
from modelkit.language.lexer import OLLAMA_WORDS, WORDS
from modelkit.language.metrics import METRIC_SYNONYMS, METRICS, Rate, metric
from modelkit.language.modelfile import KNOWN_STAGES
from modelkit.language.names import MODEL_NAME, default_name
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED, SYNONYMS
from modelkit.language.quantization import OTHER_WORDS, PRECISIONS, SHORT, named_in, precision
from modelkit.language.serve import SERVE_KEYS, SERVE_SYNONYMS

TOP_P = Real(0, 1, above_low=True)
NUM_CTX = Whole(1, 2**31 - 1)


def test_instructions_are_the_lexers_words() -> None:
    assert set(INSTRUCTIONS) == set(WORDS)
    assert set(OLLAMA_INSTRUCTIONS) == set(OLLAMA_WORDS)
    assert {row.keyword for row in INSTRUCTIONS.values() if row.block} == {"STAGE", "TEST"}


@pytest.mark.parametrize("place", ["file", "stage", "test"])
def test_instructions_stand_where_the_grammar_lets_them(place: str) -> None:
    in_table = {row.keyword for row in INSTRUCTIONS.values() if place in row.where}
    assert in_table == grammar.allowed()[place] - {"CLOSE"}


def test_ollamas_parameters_are_all_there() -> None:
    assert set(PARAMETERS) == {
        "num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict", "num_keep",
        "seed", "num_predict", "top_k", "top_p", "min_p", "typical_p", "repeat_last_n", "repeat_penalty",
        "temperature", "presence_penalty", "frequency_penalty", "stop",
    }
    assert set(DEPRECATED) == {
        "penalize_newline", "low_vram", "f16_kv", "logits_all", "vocab_only", "use_mlock", "mirostat", "mirostat_tau",
        "mirostat_eta",
    }
    assert {"numa", "num_gqa", "rope_frequency_base", "rope_frequency_scale", "tfs_z", "grammar"} <= set(REMOVED)
    assert not set(PARAMETERS) & (set(DEPRECATED) | set(REMOVED) | set(SYNONYMS))


@pytest.mark.parametrize("row", [*PARAMETERS.values(), *SERVE_KEYS.values()], ids=lambda row: row.name)
def test_a_default_is_a_value_of_its_kind(row: object) -> None:
    kind, default = row.kind, row.default  # type: ignore[attr-defined]
    if default is not None:
        assert kind.read(str(default).lower() if isinstance(default, bool) else str(default)) == default


@pytest.mark.parametrize(
    ("synonyms", "words"),
    [(SYNONYMS, PARAMETERS), (SERVE_SYNONYMS, SERVE_KEYS), (ENGINE_SYNONYMS, ENGINES),
     (PLATFORM_SYNONYMS, PLATFORMS), (SHORT, PRECISIONS), (OTHER_WORDS, PRECISIONS), (METRIC_SYNONYMS, METRICS)],
)
def test_synonyms_lead_to_words(synonyms: dict[str, str], words: dict[str, object]) -> None:
    assert set(synonyms.values()) <= set(words)
    assert not {s for s in synonyms if s in words and synonyms[s] != s}


def test_every_known_stage_has_its_defaults() -> None:
    assert set(DEFAULT_ENGINE) == set(KNOWN_STAGES)
    assert set(DEFAULT_ENGINE.values()) <= set(ENGINES)
    assert DEFAULT_PLATFORM in PLATFORMS


READS: list[tuple[Kind, str, object]] = [
    # Go's strconv, as Ollama uses it.
    (Whole(), "+4096", 4096), (Whole(), "-1", -1), (Whole(), "007", 7),
    (Real(), ".5", 0.5), (Real(), "5.", 5.0), (Real(), "1e-1", 0.1), (Real(), "0x1p-2", 0.25), (Real(), "1_0", 10.0),
    (Boolean(), "1", True), (Boolean(), "t", True), (Boolean(), "TRUE", True), (Boolean(), "True", True),
    (Boolean(), "0", False), (Boolean(), "f", False), (Boolean(), "False", False),
    (Whole(1, also=(-1, -2)), "-2", -2), (TOP_P, "1", 1.0), (Real(0, 2), "0", 0.0),
    (Text(), "'Bot:'", "'Bot:'"), (Choice(("auto", "FP8")), "fp8", "FP8"), (Word("a name"), "qwen3_xml", "qwen3_xml"),
    (Duration(), "500ms", 0.5), (Duration(), "1h30m", 5400.0), (Duration(bare=True), "-1", -1.0),
    (Duration(bare=True), "300", 300.0), (Share(), "90%", 0.9), (Share(), "0.9", 0.9), (Share(), "100%", 1.0),
    (Size(), "1.5GB", 1.5e9), (Size(), "800MiB", 800.0 * 1024**2), (Rate(), "25 tok/s", 25.0), (Rate(), "25", 25.0),
    (SecretReference(), "env:SUPPORT_KEY", "env:SUPPORT_KEY"), (SecretReference(), "file:key.txt", "file:key.txt"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "value"), READS)
def test_reads(kind: Kind, text: str, value: object) -> None:
    read = kind.read(text)
    assert read == value and type(read) is type(value)


REFUSES: list[tuple[Kind, str, str, str | None]] = [
    (NUM_CTX, "4k", "a whole number, at least 1", "4096"), (NUM_CTX, "4096.0", "a whole number, at least 1", "4096"),
    (NUM_CTX, "4_096", "a whole number, at least 1", "4096"), (NUM_CTX, "0x1000", "a whole number, at least 1", "4096"),
    (NUM_CTX, "1e3", "a whole number, at least 1", "1000"), (NUM_CTX, "0", "at least 1", None),
    (NUM_CTX, "9" * 400, "at most 2147483647", None), (NUM_CTX, "", "a whole number, at least 1", None),
    (NUM_CTX, "٤٠٩٦", "a whole number, at least 1", None), (Whole(1, 9, also=(-1,)), "0", "from 1 to 9, or -1", None),
    (TOP_P, "3", "greater than 0 and at most 1", None), (TOP_P, "0", "greater than 0 and at most 1", None),
    (TOP_P, "90%", "a number, greater than 0 and at most 1", "0.9"),
    (Real(0, 2), "0,7", "a number, from 0 to 2", "0.7"),
    (Real(0, 2), "0.7f", "a number, from 0 to 2", "0.7"), (Real(0, 2), "0.7 # cool", "a number, from 0 to 2", "0.7"),
    (Real(), "inf", "a number", None), (Real(), "nan", "a number", None), (Real(), "1__0", "a number", None),
    (Real(), "0x1", "a number", None), (Real(), "1e999", "a number", None), (Real(), "9" * 500, "a number", None),
    (Boolean(), "yes", "`true` or `false`", "true"), (Boolean(), "off", "`true` or `false`", "false"),
    (Boolean(), "tRuE", "`true` or `false`", "true"), (Text(), "", "a text, not empty", None),
    (Choice(("a", "b")), "c", "`a` or `b`", None), (Duration(), "5 m", "a duration such as `5m` or `500ms`", "5m"),
    (Duration(), "500", "a duration such as `5m` or `500ms`", "500ms"),
    (Duration(), "-5s", "a duration such as `5m` or `500ms`", None),
    (Share(0, 1, above_low=True), "90", "a share above 0 to 1, such as `0.9` or `90%`", "90%"),
    (Size(), "2", "a size such as `1.5GB` or `800MiB`", None),
    (SecretReference(), "hunter2", "`env:NAME` or `file:path`", None),
    (SecretReference(), "env:", "`env:NAME` or `file:path`", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "must_be", "instead"), REFUSES)
def test_refuses(kind: Kind, text: str, must_be: str, instead: str | None) -> None:
    assert kind.read(text) == Wrong(must_be, instead)


@pytest.mark.parametrize("row", [*PARAMETERS.values(), *SERVE_KEYS.values(), *METRICS.values()], ids=lambda r: r.name)
def test_a_kind_never_raises_and_never_lets_a_bad_number_through(row: object) -> None:
    for text in ("", " ", "-", "nan", "-inf", "1e400", "0x", "0x.p1", "%", "9" * 5000, "\0", "٣", "1\n2"):
        read = row.kind.read(text)  # type: ignore[attr-defined]
        assert isinstance(read, Wrong | str | bool) or math.isfinite(read)


@pytest.mark.parametrize(
    ("word", "name"),
    [("q4_k_m", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("FP8", "fp8"), ("fp16", "F16"), ("none", "none"), ("auto", None),
     ("", None)],
)
def test_quantization_words(word: str, name: str | None) -> None:
    row = precision(word)
    assert (row.name if row else None) == name


@pytest.mark.parametrize(
    ("reference", "name"),
    [("hf.co/org/model-GGUF:Q4_K_M", "Q4_K_M"), ("pypi://d==1/d/SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
     ("llama3.2:3b-instruct-q4_K_M", "Q4_K_M"), ("llama3.2:3b", None), ("none", None),
     ("./q4_0/model-Q8_0.gguf", None)],
)
def test_the_quantization_that_a_reference_names(reference: str, name: str | None) -> None:
    assert named_in(reference) == name


def test_every_evaluation_is_a_metric() -> None:
    assert metric("eval.mmlu") is not None and metric("eval.") is None and metric("eval") is None


@pytest.mark.parametrize("kind", ASSERTIONS.values(), ids=lambda kind: kind.name)
def test_an_assertions_example_is_one(kind: object) -> None:
    word, name, *operand = kind.example.split(" ", 2)  # type: ignore[attr-defined]
    assert (word, name) == ("EXPECT", kind.name)  # type: ignore[attr-defined]
    assert not isinstance(read_operand(kind, operand[0] if operand else ""), Wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "name"),
    [("assistant.Modelfile", "assistant"), ("a/b/support.modelfile", "support"), ("/srv/bot/Modelfile", "bot"),
     ("/srv/bot/Modelfile.prod", "bot"), ("/srv/my bot!/Modelfile", "my-bot"), ("/Modelfile", "model"),
     ("<stdin>", "stdin"), ("", "model"), ("prompt.txt", "prompt")],
)
def test_the_name_that_a_file_has_by_itself(path: str, name: str) -> None:
    assert default_name(path) == name
    assert not isinstance(MODEL_NAME.read(name), Wrong)


@pytest.mark.parametrize("name", ["support", "Support_2.1", "org/support:3b", "a" * 200])
def test_model_names(name: str) -> None:
    assert MODEL_NAME.read(name) == name


@pytest.mark.parametrize("name", ["", "my model", "-x", "a//b", "a/../b", "a/", "../a", "a\n", "ä", "a" * 201, "x\0"])
def test_no_model_names(name: str) -> None:
    assert isinstance(MODEL_NAME.read(name), Wrong)

"""Flag tables: whole, in their own form, and what is said about one word, two versions, and an engine's own help."""

from __future__ import annotations

from importlib.resources import files

import pytest

import modelkit.engines.flags as room
from modelkit.engines.flags import canonical, flags, newer, presume_flags, problems, read_help, table, versions
from modelkit.engines.flags.compare import changes_of, compare
from modelkit.engines.flags.table import Flag, FlagTable, parse
from modelkit.failure import Failure

TABLES = sorted(one.name for one in files(room).iterdir() if one.name.endswith(".json"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_whole_and_in_its_own_form(name: str) -> None:
    text = files(room).joinpath(name).read_text("utf-8")
    one = parse(text)
    assert name == f"{one.engine}-{one.version}.json" and one.read in ("parser", "help", "static") and one.source
    assert text == one.text()  # sorted, compact, nothing said twice
    words = [word for flag in one.flags for word in flag.words]
    assert len(words) == len(set(words)) and all(word.startswith("-") for word in words)
    assert len(one.flags) > 20 or one.engine == "llama-cpp-python"  # which is told the rest by the language
    for flag in one.flags:
        assert flag.type in ("int", "float", "str", "json", "bool") and set(flag.hidden) <= set(flag.words)
        assert not (flag.choices and flag.type == "bool")
    assert "/tmp" not in text and "/root" not in text and "/home/" not in text  # defaults are no machine's


@pytest.mark.parametrize(("engine", "version", "found"), [
    ("vllm", "0.32.0", "0.32.0"), ("vllm", "0.32.4", "0.32.0"), ("vllm", "0.33", "0.33.0"),
    ("vllm", "0.32.1.dev3+gabc", "0.32.0"), ("vllm", "0.28.0", None), ("vllm", "main", None),
    ("llama.cpp", "0.3.36", "0.3.36"), ("llama.cpp", "0.3.99", "0.3.36"), ("llama-cpp-python", "0.3.36", "0.3.36"),
    ("llama.cpp", "2026.10.11549", "11549"), ("llama-server", "11549", "11549"), ("llama-server", "11550", None),
    ("sglang", "0.5.23", "0.5.23"), ("sglang", "0.5.20", None), ("nobody", "1.0", None),
])
def test_a_version_has_the_table_that_is_sure_to_fit_or_none(engine: str, version: str, found: str | None) -> None:
    one = table(engine, version)
    assert (one.version if one else None) == found


def test_versions_are_in_order_and_newer_ones_follow() -> None:
    assert versions("vllm") == ("0.29.0", "0.30.0", "0.31.0", "0.32.0", "0.33.0")
    assert newer("vllm", "0.31.1") == ("0.32.0", "0.33.0") and newer("vllm", "0.33.0") == ()
    assert newer("llama.cpp", "2026.9.11063") == ("11549",)


@pytest.mark.parametrize(("words", "code", "says"), [
    (["--enforce-eagre"], "unknown-flag", "did you mean `--enforce-eager`?"),
    (["--dtype", "float8"], "bad-flag-value", "bfloat16"),
    (["--dtype=float8"], "bad-flag-value", "bfloat16"),
    (["--collect-detailed-traces", "model", "everything"], "bad-flag-value", "worker"),
    (["--max-lora-rank", "48"], "bad-flag-value", "64"),
    (["--port", "1"], "flag-not-yours", "SERVE"),
])
def test_what_is_wrong_with_a_flag(words: list[str], code: str, says: str) -> None:
    (problem,) = problems("vllm", "0.32.0", words, ["--port"])
    assert problem.code == code and says in f"{problem.message} {problem.hint}"
    with pytest.raises(Failure) as raised:
        presume_flags("vllm", "0.32.0", words, ["--port"])
    assert raised.value.code == code


def test_what_is_right_is_let_through() -> None:
    good = ["--no-enable-prefix-caching", "--max_num_batched_tokens=1", "-tp", "2", "--seed", "-3", "--dtype", "half",
            "--hf-overrides.a.b", "x", "--max-lora-rank=64", "--collect-detailed-traces", "model", "worker"]
    assert list(problems("vllm", "0.32.0", good)) == []
    assert list(problems("vllm", "9.9.9", ["--of-a-version-that-has-no-table"])) == []
    assert flags("vllm", "9.9.9") == frozenset() and "--uds" in flags("vllm", "0.32.0")


def test_llama_server_says_what_to_take_instead_of_what_it_removed() -> None:
    (problem,) = problems("llama-server", "11549", ["--draft-max", "8"])
    assert problem.hint == "use `--spec-draft-n-max` or `--spec-ngram-mod-n-max`"


@pytest.mark.parametrize(("word", "flag"), [
    ("--max_model_len=4", "--max-model-len"), ("--a.b_c.d", "--a"), ("-tp", "-tp"), ("-q=x", "-q")])
def test_a_word_has_one_canonical_spelling(word: str, flag: str) -> None:
    assert canonical(word) == flag


# Two versions


def _table(*rows: Flag, gone: dict[str, str] | None = None) -> FlagTable:
    return FlagTable("vllm", "1", "parser", "test", rows, gone=gone or {})


def test_every_kind_of_change() -> None:
    old = _table(Flag("--gone"), Flag("--old-name", aliases=("-o",)), Flag("--pick", choices=("a", "b"), default="a"),
                 Flag("--onoff", negations=("--no-onoff",), type="bool"), Flag("--takes", type="bool"), Flag("--same"),
                 Flag("--removed-with-a-word"))
    new = _table(Flag("--new-name", aliases=("-o",)), Flag("--pick", choices=("b",), default="b", deprecated=True),
                 Flag("--onoff", negations=("--off", "--no-onoff"), hidden=("--no-onoff",), type="bool"),
                 Flag("--takes", type="int"), Flag("--same"), Flag("--other"),
                 gone={"--removed-with-a-word": "use `--other`"})
    found = {(one.kind, one.word): one for one in compare(old, new)}
    assert set(found) == {("removed", "--gone"), ("renamed", "--old-name"), ("type", "--takes"), ("choices", "--pick"),
                          ("default", "--pick"), ("deprecated", "--pick"), ("hidden", "--no-onoff"),
                          ("renamed", "--removed-with-a-word"), ("added", "--other")}
    assert found["renamed", "--removed-with-a-word"].to == "--other" and found["hidden", "--no-onoff"].to == "--off"
    assert [one.kind for one in compare(old, new)][:2] == ["removed", "renamed"]  # what breaks comes first
    assert [one.kind for one in changes_of("--pick", old, new)] == ["choices", "default", "deprecated"]
    assert changes_of("--never-heard-of", old, new) == () and compare(old, old) == ()


def test_what_vllms_versions_are_known_to_have_changed() -> None:
    """Facts that this project trips over when the tables are made anew and are wrong."""
    tables = {one: table("vllm", one) for one in versions("vllm")}
    assert all(tables.values())
    t29, t31, t32, t33 = (tables[f"0.{minor}.0"] for minor in (29, 31, 32, 33))
    assert t29 and t31 and t32 and t33
    assert "--tool-strict-level" not in t29.by_word and "--tool-strict-level" in t31.by_word
    (change,) = changes_of("--allowed-origins", t31, t32)
    assert (change.kind, change.before, change.to) == ("default", ["*"], [])
    (change,) = changes_of("--no-enable-prefix-caching", t32, t33)
    assert (change.kind, change.to) == ("hidden", "--disable-prefix-caching")
    assert "hermes" in t32.lists["tool_parsers"] and "qwen3" in t32.lists["reasoning_parsers"]


# llama-server's own words

_HELP = """----- common params -----

-t,    --threads N                      number of CPU threads to use (default: -1)
                                        (env: LLAMA_ARG_THREADS)
-kvo,  --kv-offload, -nkvo, --no-kv-offload
                                        whether to offload the cache (default: enabled)
--temp, --temperature N                 temperature (default: 0.80)
-sm,   --split-mode {none,layer,row}    how to split (default: layer)
--control-vector-layer-range START END
                                        layer range
--mlock                                 DEPRECATED in favor of `--load-mode`: keep it in memory
--draft, --draft-max N                  the argument has been removed. use --threads or
                                        --nothing-like-it
"""

_README = """
| Argument | Explanation |
| -------- | ----------- |
| `-t, --threads N` | number of CPU threads to use (default: -1)<br/>(env: LLAMA_ARG_THREADS) |
| `-kvo, --kv-offload, -nkvo, --no-kv-offload` | whether to offload the cache (default: enabled) |
| `--temp, --temperature N` | temperature (default: 0.80) |
| `-sm, --split-mode {none,layer,row}` | how to split (default: layer) |
| `--control-vector-layer-range START END` | layer range |
| `--mlock` | DEPRECATED in favor of `--load-mode`: keep it in memory |
| `--draft, --draft-max N` | the argument has been removed. use --threads or --nothing-like-it |
"""


@pytest.mark.parametrize("text", [_HELP, _README], ids=["help", "readme"])
def test_help_and_readme_say_the_same(text: str) -> None:
    one = read_help.table("1", text, "test")
    assert one.flags == (
        Flag("--threads", ("-t",), type="int", default=-1),
        Flag("--kv-offload", ("-kvo",), ("-nkvo", "--no-kv-offload"), type="bool", default=True),
        Flag("--temp", ("--temperature",), type="float", default=0.8),
        Flag("--split-mode", ("-sm",), type="str", choices=("none", "layer", "row"), default="layer"),
        Flag("--control-vector-layer-range", type="str", nargs=2),
        Flag("--mlock", type="bool", deprecated=True),
    )
    assert one.gone == dict.fromkeys(("--draft", "--draft-max"), "use `--threads`")
    assert parse(one.text()).by_word.keys() == one.by_word.keys()


def test_a_text_without_flags_is_no_table() -> None:
    with pytest.raises(ValueError, match="no flags"):
        read_help.table("1", "llama-server: not found\n", "test")

"""Token ids are llama.cpp's own: `make_token_ids.py` asked it, these tests compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from modelkit.failure import Failure
from modelkit.models.convert.pretokenizers import PRE_TOKENIZERS
from modelkit.models.convert.special_tokens import crossing
from modelkit.models.convert.tokenizer import adds_bos, complete_chat_template, tokenizer_config, tokenizer_json
from modelkit.models.convert.vocabulary import Vocabulary, read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from tests.unit.models.gguf_files import ARCHITECTURE, gguf, pair, vocabulary_pairs
from tests.unit.models.hard_strings import HARD
from tests.unit.models.make_token_ids import CHUNK, RANDOM_TEXTS, SPECIAL, chunked, small_gguf, small_spm, texts_of

SAID: dict[str, Any] = json.loads((Path(__file__).parent / "token_ids.json").read_text())


def vocabulary_of(path: Path, pre: str = "smollm") -> Vocabulary:
    path.write_bytes(small_gguf(SAID, pre))
    return read_vocabulary(read_header(path))


def test_every_row_is_tested_against_llama_cpp() -> None:
    assert SAID["expected"].keys() == PRE_TOKENIZERS.keys()
    assert len(HARD) >= 60


@pytest.mark.parametrize("pre", sorted(PRE_TOKENIZERS))
def test_ids_are_those_of_llama_cpp(pre: str, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json(vocabulary_of(tmp_path / "v.gguf", pre)))
    texts = texts_of(SPECIAL, RANDOM_TEXTS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    expected = SAID["expected"][pre]
    for number, (found, wanted) in enumerate(zip(chunked(ids), expected["ids"], strict=True)):
        assert found == wanted, f"one of {texts[number * CHUNK:(number + 1) * CHUNK]}"
    assert tokenizer.encode("hello").ids == expected["hello"]


@pytest.mark.parametrize("space_prefix", [True, False])
def test_ids_of_sentencepiece_are_those_of_llama_cpp(space_prefix: bool, tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    path.write_bytes(small_spm(SAID["pieces"], space_prefix))
    tokenizer = Tokenizer.from_str(tokenizer_json(read_vocabulary(read_header(path))))
    texts = texts_of(("<s>", "</s>", "<unk>"), RANDOM_TEXTS)
    ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    expected = SAID["expected_of_pieces"][str(space_prefix)]
    for number, (found, wanted) in enumerate(zip(chunked(ids), expected["ids"], strict=True)):
        assert found == wanted, f"one of {texts[number * CHUNK:(number + 1) * CHUNK]}"
    assert tokenizer.encode("hello").ids == expected["hello"]
    for text in ("hello  world", "½ e\u0301\n", "\U0010ffff"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_rows_are_told_apart() -> None:
    """The texts are hard enough: rows that differ have different ids somewhere."""
    ids = {tuple(said["ids"]) for said in SAID["expected"].values()}
    behaviours = {(row.patterns, row.ignore_merges) for row in PRE_TOKENIZERS.values()}
    assert len(ids) >= len({patterns for patterns, _ in behaviours})


def test_decoding_gives_the_text_back(tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_str(tokenizer_json(vocabulary_of(tmp_path / "v.gguf")))
    for text in HARD:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_a_byte_without_a_token_keeps_its_neighbours_apart(tmp_path: Path) -> None:
    """llama.cpp drops such a byte after merging, `tokenizers` before it."""
    tokens = [*(token for token in SAID["tokens"] if not {"Å", "ģ"} & set(token)), "ab"]
    path = tmp_path / "v.gguf"
    path.write_bytes(gguf([ARCHITECTURE, *vocabulary_pairs(tokens, ["a b"], [1] * len(tokens), "gpt-2")]))
    vocabulary = read_vocabulary(read_header(path))
    tokenizer = Tokenizer.from_str(tokenizer_json(vocabulary))
    assert "Ł".encode() == b"\xc5\x81"  # "Å" and "ģ" stand for these bytes
    found = tokenizer.encode("aŁb ab", add_special_tokens=False).ids
    assert [vocabulary.tokens[number] for number in found] == ["a", "b", "Ġ", "ab"]


def test_ends_and_special_tokens(tmp_path: Path) -> None:
    vocabulary = vocabulary_of(tmp_path / "v.gguf")
    assert vocabulary.ends == (2, 0)  # the named eos first, then what llama.cpp knows by its text
    assert vocabulary.special == (0, 1, 2, 3, 4)


def test_a_token_that_ends_answers_is_special_whatever_its_type(tmp_path: Path) -> None:
    tokens = ["a", "<|eot_id|>", "<reponame>", "b"]
    path = tmp_path / "v.gguf"
    path.write_bytes(gguf([ARCHITECTURE, *vocabulary_pairs(tokens, [], [1] * 4, "gpt-2", eos=0, bos=99)]))
    vocabulary = read_vocabulary(read_header(path))
    assert vocabulary.ends == (0, 1, 2)
    assert vocabulary.special == (1, 2)
    assert vocabulary.named("bos") is None  # out of range counts as not given


@pytest.mark.parametrize(("pre", "said", "adds"), [
    ("llama-bpe", None, True), ("llama-bpe", False, False), ("smollm", None, False), ("smollm", True, True),
])
def test_beginning_of_sequence(pre: str, said: bool | None, adds: bool, tmp_path: Path) -> None:
    flags = {} if said is None else {"add_bos": said}
    types = [3, 3, 3, 4, 4, *[1] * (len(SAID["tokens"]) - 5)]
    path = tmp_path / "v.gguf"
    pairs = vocabulary_pairs(SAID["tokens"], SAID["merges"], types, pre, bos=1, **flags)
    path.write_bytes(gguf([ARCHITECTURE, *pairs]))
    vocabulary = read_vocabulary(read_header(path))
    assert adds_bos(vocabulary) is adds
    assert (Tokenizer.from_str(tokenizer_json(vocabulary)).encode("x").ids[0] == 1) is adds
    assert tokenizer_config(vocabulary, 64)["add_bos_token"] is adds


@pytest.mark.parametrize(("template", "adds", "complete"), [
    ("{{ messages }}", True, "{{ bos_token }}{{ messages }}"), ("{{ messages }}", False, "{{ messages }}"),
    ("{{ bos_token }}x", True, "{{ bos_token }}x"), ("<|im_start|>x", True, "<|im_start|>x"), (None, True, None),
])
def test_a_prompt_begins_with_one_bos(template: str | None, adds: bool, complete: str | None, tmp_path: Path) -> None:
    said = [] if template is None else [pair("tokenizer.chat_template", "string", template)]
    path = tmp_path / "v.gguf"
    tokens = SAID["tokens"]
    path.write_bytes(gguf([ARCHITECTURE, *said, *vocabulary_pairs(
        tokens, SAID["merges"], [1] * len(tokens), "gpt-2", bos=1, add_bos=adds)]))
    assert complete_chat_template(read_vocabulary(read_header(path))) == complete


@pytest.mark.parametrize(("tokens", "crossed"), [
    (("ab", "bcd"), True), (("ab", "bc"), True), (("abc", "cd"), False), (("ab", "bcd", "abcd"), False),
    (("  ", "   ", " " * 31, "\n", "\n\n"), False), (("<a>", "</a>", "<a>x", "<|end|>"), False), (("aba",), False),
    ((), False),
])
def test_special_tokens_that_cross(tokens: tuple[str, ...], crossed: bool) -> None:
    """Of "abcd" llama.cpp makes "a" and the token "bcd", as it is longer, where others begin with "ab"."""
    assert (crossing(tokens) is not None) is crossed


@pytest.mark.parametrize(("pairs", "code", "words"), [
    ([pair("tokenizer.ggml.model", "string", "t5"), pair("tokenizer.ggml.tokens", "[string]", ["a"])],
     "tokenizer-not-yet", "of the kind `t5`"),
    ([pair("tokenizer.ggml.model", "string", "llama"), pair("tokenizer.ggml.tokens", "[string]", ["a"])],
     "tokenizer-not-yet", "without the byte 0"),
    ([pair("general.name", "string", "Phi-3 mini"), *vocabulary_pairs(["a"], [], [1], "gpt-2")],
     "tokenizer-not-yet", "named after Phi-3"),
    ([pair("tokenizer.ggml.model", "string", "llama"),
      pair("tokenizer.ggml.tokens", "[string]", [f"<0x{byte:02X}>" for byte in range(256)])],
     "gguf-invalid", "256 tokens but 0 scores"),
    (vocabulary_pairs(["a"], [], [1], "quen2"), "tokenizer-not-yet", "`quen2`"),
    (vocabulary_pairs(["a", "b", "a"], [], [1, 1, 1], "gpt-2"), "gguf-invalid", "'a' occurs twice"),
    (vocabulary_pairs(["a", "b\0c"], [], [1, 1], "gpt-2"), "tokenizer-not-yet", "cuts at its NUL"),
    (vocabulary_pairs(["ab", "bcd"], [], [4, 3], "gpt-2"), "tokenizer-not-yet", "'ab' and 'bcd', of which one begins"),
    (vocabulary_pairs(["a", "b"], [], [1], "gpt-2"), "gguf-invalid", "1 token types"),
    (vocabulary_pairs(["a", "b"], ["ab"], [1, 1], "gpt-2"), "gguf-invalid", "the merge rule 'ab'"),
    (vocabulary_pairs(["a", "b"], ["a b"], [1, 1], "gpt-2"), "gguf-invalid", "the merge rule 'a b'"),
    ([], "gguf-invalid", "no vocabulary"),
])
def test_what_is_refused(pairs: list[bytes], code: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "v.gguf"
    path.write_bytes(gguf([ARCHITECTURE, *pairs]))
    with pytest.raises(Failure) as failed:
        tokenizer_json(read_vocabulary(read_header(path)))
    assert failed.value.code == code
    assert words in failed.value.message

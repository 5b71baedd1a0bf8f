"""Makes `token_ids.json` and `tests/live/smollm2_ids.json`: what llama.cpp itself says.

Run by hand when texts or rows change: `python -m tests.unit.models.make_token_ids SMOLLM2.gguf`. It needs
llama-cpp-python, which is no dependency of modelkit. The expectations in the repository come from version 0.3.36.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from modelkit.models.convert.pretokenizers import PRE_TOKENIZERS
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from tests.unit.models.gguf_files import ARCHITECTURE, gguf, pair, vocabulary_pairs
from tests.unit.models.hard_strings import HARD, random_texts

HERE = Path(__file__).parent
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "<tool>x")
TYPES = (3, 3, 3, 4, 4)  # control, control, control, user-defined, user-defined
RANDOM_TEXTS, SMOLLM2_TEXTS, CHUNK = 150, 4000, 50


def small_vocabulary() -> dict[str, list[str]]:
    """Some hundred merges learnt without any pre-tokenizer, so that a cut in the wrong place shows."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(vocab_size=1100, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator([*HARD * 3, *random_texts(3000, 1)], trainer)
    said = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(said["vocab"], key=said["vocab"].get)
    merges = [" ".join(rule) if isinstance(rule, list) else rule for rule in said["merges"]]
    return {"tokens": [*SPECIAL, *tokens], "merges": merges}


def small_pieces() -> dict[str, list[Any]]:
    """A SentencePiece vocabulary: three special tokens, all bytes, pieces with falling scores."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(vocab_size=900, show_progress=False, min_frequency=3, limit_alphabet=300)
    tokenizer.train_from_iterator([*HARD * 3, *random_texts(3000, 1)], trainer)
    pieces = [piece for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
              if "\0" not in piece]  # llama.cpp ends a token at its first NUL
    made = [piece for piece in pieces if len(piece) > 1]
    single = [piece for piece in pieces if len(piece) == 1]
    return {"tokens": ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *made, *single],
            "types": [2, 3, 3, *[6] * 256, *[1] * len(pieces)],
            "scores": [0.0] * 259 + [-float(place) for place in range(len(pieces))]}


def small_spm(pieces: dict[str, list[Any]], space_prefix: bool) -> bytes:
    return gguf([ARCHITECTURE, pair("llama.context_length", "uint32", 64),
                 pair("tokenizer.ggml.model", "string", "llama"),
                 pair("tokenizer.ggml.tokens", "[string]", pieces["tokens"]),
                 pair("tokenizer.ggml.token_type", "[int32]", pieces["types"]),
                 pair("tokenizer.ggml.scores", "[float32]", pieces["scores"]),
                 pair("tokenizer.ggml.add_space_prefix", "bool", space_prefix)])


def small_gguf(vocabulary: dict[str, Any], pre: str) -> bytes:
    types = [*TYPES, *[1] * (len(vocabulary["tokens"]) - len(TYPES))]
    return gguf([ARCHITECTURE, pair("llama.context_length", "uint32", 64),
                 *vocabulary_pairs(vocabulary["tokens"], vocabulary["merges"], types, pre, bos=1, eos=2)])


def chunked(values: list[Any]) -> list[str]:
    """A digest for every `CHUNK` values."""
    return [hashlib.sha256(json.dumps(values[at:at + CHUNK]).encode()).hexdigest()[:16]
            for at in range(0, len(values), CHUNK)]


def texts_of(special: tuple[str, ...], count: int) -> list[str]:
    around = [f"x{token} y{token}{token}\n" for token in special]
    return [*HARD, *around, *islice(random_texts(count, 2, special), count)]


def llama_ids(path: Path, texts: list[str]) -> tuple[list[list[int]], list[int]]:
    """The ids of texts without and of "hello" with the tokens that the model adds."""
    from llama_cpp import Llama

    llama = Llama(str(path), vocab_only=True, verbose=False)
    return ([llama.tokenize(text.encode(), add_bos=False, special=True) for text in texts],
            llama.tokenize(b"hello", add_bos=True, special=True))


def main() -> None:
    vocabulary = small_vocabulary()
    texts, said = texts_of(SPECIAL, RANDOM_TEXTS), {}
    with tempfile.TemporaryDirectory() as folder:
        for pre in PRE_TOKENIZERS:
            path = Path(folder) / f"{pre}.gguf"
            path.write_bytes(small_gguf(vocabulary, pre))
            ids, hello = llama_ids(path, texts)
            said[pre] = {"hello": hello, "ids": chunked(ids)}
            print(pre, said[pre]["ids"][0])
        pieces, spm = small_pieces(), {}
        texts = texts_of(("<s>", "</s>", "<unk>"), RANDOM_TEXTS)
        for space_prefix in (True, False):
            path.write_bytes(small_spm(pieces, space_prefix))
            ids, hello = llama_ids(path, texts)
            spm[str(space_prefix)] = {"hello": hello, "ids": chunked(ids)}
    (HERE / "token_ids.json").write_text(json.dumps(
        {**vocabulary, "expected": said, "pieces": pieces, "expected_of_pieces": spm}, ensure_ascii=False) + "\n")
    model = Path(sys.argv[1])
    known = read_vocabulary(read_header(model))
    ids, hello = llama_ids(model, texts_of(tuple(known.tokens[i] for i in known.special), SMOLLM2_TEXTS))
    expected = {"hello": hello, "hard": ids[:len(HARD)], "all": chunked(ids)}
    (HERE.parents[1] / "live" / "smollm2_ids.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()

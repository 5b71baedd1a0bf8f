"""SentencePiece vocabularies (`tokenizer.ggml.model = llama`) as a Hugging Face tokenizer.

There are no merge rules in such a file: any two pieces that make a piece may merge, the piece of the highest score
first. Ranked by score those are rules, and byte-pair encoding with them does what llama.cpp does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.models.convert.vocabulary import Vocabulary
from modelkit.models.formats.gguf import refuse

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_SPACE = "▁"  # U+2581, how a space is written in a piece


def sentencepiece(vocabulary: Vocabulary) -> Tokenizer:
    """The tokenizer without its special tokens."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    if missing := [number for number in range(256) if f"<0x{number:02X}>" not in vocabulary.ids]:
        raise Failure("tokenizer-not-yet",
                      f"{vocabulary.header.path.name} has a SentencePiece vocabulary without the byte {missing[0]}, "
                      f"which can't be converted yet", "serve it with `ENGINE llama.cpp`")
    unknown = vocabulary.named("unknown")
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary.ids, merges=_merges(vocabulary), byte_fallback=True,
                                     unk_token=None if unknown is None else vocabulary.tokens[unknown]))
    spaces: list[normalizers.Normalizer] = [normalizers.Replace(" ", _SPACE)]
    strip: list[decoders.Decoder] = []
    if vocabulary.header.get("tokenizer.ggml.add_space_prefix", bool, True):
        spaces.insert(0, normalizers.Prepend(_SPACE))  # before every text between special tokens, as in llama.cpp
        strip = [decoders.Strip(" ", 1, 0)]
    tokenizer.normalizer = normalizers.Sequence(spaces)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *strip])
    return tokenizer


def _merges(vocabulary: Vocabulary) -> list[tuple[str, str]]:
    """Every pair of pieces that makes a piece, that of the highest score first."""
    scores = vocabulary.header.numbers("tokenizer.ggml.scores")
    if len(scores) < len(vocabulary.tokens):
        refuse(vocabulary.header.path, "vocabulary", 0,
               f"it has {len(vocabulary.tokens):,} tokens but {len(scores):,} scores")
    known = vocabulary.ids
    found = []
    for number in sorted(range(len(vocabulary.tokens)), key=lambda number: -scores[number]):
        piece = vocabulary.tokens[number]
        found += [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))
                  if piece[:cut] in known and piece[cut:] in known]
    return found

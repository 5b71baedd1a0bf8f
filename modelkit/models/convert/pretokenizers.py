"""How each pre-tokenizer that a GGUF can name (`tokenizer.ggml.pre`) cuts a text into words before BPE.

A row is the sequence of regular expressions, each applied inside the pieces that the one before left, and what else
the name implies in llama.cpp (src/llama-vocab.cpp). Every row is tested against llama.cpp's own token ids; a name that
is not here is refused, because a near miss would change what the model reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# llama.cpp knows the characters of Unicode 15.1, the regular expressions of `tokenizers` those of 16. These are the
# letters and numbers that came in between; to llama.cpp they are neither.
_NEWER_SPANS = (
    "1C89-1C8A A7CB-A7CD A7DA-A7DC 105C0-105F3 10D40-10D65 10D6F-10D85 10EC2-10EC4 11380-11389 1138B-1138B "
    "1138E-1138E 11390-113B5 113B7-113B7 113D1-113D1 113D3-113D3 116D0-116E3 11BC0-11BE0 11BF0-11BF9 13460-143FA "
    "16100-1611D 16130-16139 16D40-16D6C 16D70-16D79 18CFF-18CFF 1CCF0-1CCF9 1E5D0-1E5ED 1E5F0-1E5FA")
_NEWER = re.sub(r"(\w+)-(\w+) ?", r"\\x{\1}-\\x{\2}", _NEWER_SPANS)
_LETTER, _NUMBER = rf"[\p{{L}}&&[^{_NEWER}]]", rf"[\p{{N}}&&[^{_NEWER}]]"
_NEWER_PUNCTUATION = (r"\x{1B4E}-\x{1B4F}\x{1B7F}\x{10D6E}\x{113D4}-\x{113D5}\x{113D7}-\x{113D8}\x{11BE1}"
                      r"\x{16D6D}-\x{16D6F}\x{1E5FF}")
_PUNCTUATION = rf"[\p{{P}}&&[^{_NEWER_PUNCTUATION}]]"
_SIGN = rf"[[^\s\p{{L}}\p{{N}}]{_NEWER}]"
_LEAD = rf"[[^\r\n\p{{L}}\p{{N}}]{_NEWER}]"

_GPT2 = rf"'s|'t|'re|'ve|'m|'ll|'d| ?{_LETTER}+| ?{_NUMBER}+| ?{_SIGN}+|\s+(?!\S)|\s+"


# Upper and lower case are spelled out: (?i:'s) would also match the long s (U+017F), which llama.cpp does not.
_CONTRACTION = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
_BLANKS = r"\s*[\r\n]+|\s+(?!\S)|\s+"


def _words(numbers: str) -> str:
    """The family of Llama 3: a word takes one leading sign with it, signs take the line's end with them."""
    return rf"{_CONTRACTION}|{_LEAD}?{_LETTER}+|{numbers}| ?{_SIGN}+[\r\n]*|{_BLANKS}"


def _cased_words(contraction: str, numbers: str) -> str:
    """The family of GPT-4o: a word also ends before a capital. Outside ASCII every letter counts as both cases."""
    upper, lower = _LETTER.replace("[^", "[^a-z"), _LETTER.replace("[^", "[^A-Z")
    return (rf"{_LEAD}?{upper}*{lower}+{contraction}|{_LEAD}?{upper}+{lower}*{contraction}|{numbers}"
            rf"| ?{_SIGN}+[\r\n/]*|{_BLANKS}")


_LLAMA3, _QWEN2 = _words(_NUMBER + "{1,3}"), _words(_NUMBER)
_TEKKEN, _GPT4O = _cased_words("", _NUMBER), _cased_words(_CONTRACTION + "?", _NUMBER + "{1,3}")
_DEFAULT = (rf"(?:{_PUNCTUATION}|[$+<=>\^~|])+", _GPT2, _NUMBER + "+", "[0-9][0-9][0-9]")
_SEED_CODER = rf"{_CONTRACTION}|{_LEAD}?{_LETTER}+|{_NUMBER}| ?{_SIGN}+|{_BLANKS}"
_DEEPSEEK_CODER = (r"[\r\n]", rf"\s?{_LETTER}+", rf"\s?{_PUNCTUATION}+",
                   r"[[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]&&\S]+", _NUMBER)


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """`ignore_merges`: a word that is a token as it stands is that token, whatever the merges would make of it."""

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    add_bos: bool = False  # unless the file says


def _rows(names: str, row: PreTokenizer) -> dict[str, PreTokenizer]:
    return dict.fromkeys(names.split(), row)


PRE_TOKENIZERS: dict[str, PreTokenizer] = {
    **_rows("gpt-2 phi-2 mpt olmo jais trillion granite-docling gigachat mellum", PreTokenizer((_GPT2,))),
    **_rows("smollm starcoder refact command-r codeshell exaone minerva-7b mellum2", PreTokenizer((_NUMBER, _GPT2))),
    **_rows("llama3 llama-v3 llama-bpe falcon3 pixtral midm-2.0 lfm2", PreTokenizer((_LLAMA3,), True, True)),
    **_rows("dbrx smaug-bpe", PreTokenizer((_LLAMA3,))),
    **_rows("tekken", PreTokenizer((_TEKKEN,), True, True)),
    **_rows("gpt-4o llama4 kanana2", PreTokenizer((_GPT4O,))),
    **_rows("deepseek-coder", PreTokenizer(_DEEPSEEK_CODER)),
    **_rows("seed-coder", PreTokenizer((_SEED_CODER,))),
    **_rows("default", PreTokenizer(_DEFAULT)),
    **_rows("qwen2 stablelm2 hunyuan megrez deepseek-r1-qwen", PreTokenizer((_QWEN2,))),
}

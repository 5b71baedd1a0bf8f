"""A GGUF's vocabulary as llama.cpp reads it: which tokens are special, and which end an answer.

The file does not say all of it. llama.cpp knows the tokens that end an answer by their text and treats them as
control tokens whatever type the file gives them (src/llama-vocab.cpp, `llama_vocab::impl::load`, as of October 2026).
An engine that has to read and stop like llama.cpp has to do the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from modelkit.models.formats.gguf import Header, refuse

UNKNOWN, CONTROL, USER_DEFINED = 2, 3, 4

_ENDS = frozenset((
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
))

_FILL_IN_THE_MIDDLE: dict[str, tuple[bool, tuple[str, ...]]] = {
    # the key that may name the token: (does it end an answer?, the texts it is known by)
    "fim_pre": (False, ("<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
                        "<|code_prefix|>", "<|prefix|>")),
    "fim_suf": (False, ("<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
                        "<|code_suffix|>", "<|suffix|>")),
    "fim_mid": (False, ("<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
                        "<|code_middle|>", "<|middle|>")),
    "fim_pad": (True, ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]")),
    "fim_rep": (True, ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>")),
    "fim_sep": (True, ("<|file_sep|>",)),
}

_DEFAULT_IDS = {"gpt2": {"bos": 11, "eos": 11}, "llama": {"unknown": 0, "bos": 1, "eos": 2}}


@dataclass(frozen=True)
class Vocabulary:
    """Token texts by id, their types, and the tokens that have a part to play."""

    header: Header
    model: str  # "gpt2" is byte-level BPE, "llama" SentencePiece
    pre: str  # which pre-tokenizer, for BPE
    tokens: list[str]
    types: tuple[int, ...]

    @cached_property
    def ids(self) -> dict[str, int]:
        return {text: number for number, text in enumerate(self.tokens)}

    def named(self, role: str) -> int | None:
        """The id of the `bos`, `eos`, `eot`, `unknown`, `padding` … token; an id out of range counts as not given."""
        number: int | None = self.header.get(f"tokenizer.ggml.{role}_token_id", int)
        if number is None or not 0 <= number < len(self.tokens):
            number = _DEFAULT_IDS.get(self.model, {}).get(role)
        return number if number is not None and number < len(self.tokens) else None

    @cached_property
    def _fill_in_the_middle(self) -> dict[str, int]:
        found = {}
        for role, (_, texts) in _FILL_IN_THE_MIDDLE.items():
            number = self.named(role)
            if number is None:
                number = next((self.ids[text] for text in texts if text in self.ids), None)
            if number is not None:
                found[role] = number
        return found

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The tokens that end an answer, the end-of-sequence token first."""
        ends = {self.ids[text] for text in _ENDS if text in self.ids}
        ends |= {number for role, number in self._fill_in_the_middle.items() if _FILL_IN_THE_MIDDLE[role][0]}
        ends |= {number for role in ("eot", "eom") if (number := self.named(role)) is not None}
        eos = self.named("eos")
        return tuple(sorted(ends if eos is None else ends - {eos})) if eos is None else (
            eos, *sorted(ends - {eos}))

    @cached_property
    def special(self) -> tuple[int, ...]:
        """The tokens that are found in a text before anything else is done to it, in order."""
        by_type = {number for number, kind in enumerate(self.types) if kind in (UNKNOWN, CONTROL, USER_DEFINED)}
        by_text = {self.ids[text] for text in _ENDS if text in self.ids}
        return tuple(sorted(by_type | by_text | set(self._fill_in_the_middle.values())))

    def merges(self) -> list[tuple[str, str]]:
        """The merge rules, best first. Each makes a token out of two tokens."""
        found, known = [], self.ids
        for rule in self.header.strings("tokenizer.ggml.merges"):
            left, _, right = rule[1:].partition(" ")
            left = rule[:1] + left
            if left not in known or right not in known or left + right not in known:
                refuse(self.header.path, "merges", 0, f"the merge rule {rule!r} does not make a token out of two")
            found.append((left, right))
        return found


def read_vocabulary(header: Header) -> Vocabulary:
    """The vocabulary of a GGUF file; a file without one, or with the same token twice, is refused."""
    tokens = [text or f"[EMPTY_{number}]" for number, text in enumerate(header.strings("tokenizer.ggml.tokens"))]
    if not tokens:
        refuse(header.path, "vocabulary", 0, "it has no vocabulary (`tokenizer.ggml.tokens`)")
    types = header.numbers("tokenizer.ggml.token_type") or (1,) * len(tokens)
    if len(types) < len(tokens):
        refuse(header.path, "vocabulary", 0, f"it has {len(tokens):,} tokens but {len(types):,} token types")
    vocabulary = Vocabulary(header, header.get("tokenizer.ggml.model", str, ""),
                            header.get("tokenizer.ggml.pre", str, "default") or "default",
                            tokens, tuple(int(kind) for kind in types[:len(tokens)]))
    if len(vocabulary.ids) != len(tokens):
        twice = next(text for number, text in enumerate(tokens) if vocabulary.ids[text] != number)
        refuse(header.path, "vocabulary", 0, f"the token {twice!r} occurs twice")
    return vocabulary

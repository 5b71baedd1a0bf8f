"""A Hugging Face tokenizer that gives llama.cpp's token ids, built from a GGUF's own vocabulary."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.models.beginning import BEGINS, left_to_llama_cpp
from modelkit.models.convert.pretokenizers import PRE_TOKENIZERS, PreTokenizer
from modelkit.models.convert.sentencepiece import sentencepiece
from modelkit.models.convert.special_tokens import crossing
from modelkit.models.convert.vocabulary import USER_DEFINED, Vocabulary
from modelkit.models.formats.gguf import Header
from modelkit.models.nearest import nearest

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def pre_tokenizer(vocabulary: Vocabulary) -> PreTokenizer:
    """How a byte-level vocabulary's texts are cut, or a Failure that says that modelkit can't do it yet."""
    if (row := PRE_TOKENIZERS.get(vocabulary.pre)) is None:
        raise _not_yet(vocabulary, f"the pre-tokenizer `{vocabulary.pre}`",
                       known=sorted(PRE_TOKENIZERS), nearest=nearest(vocabulary.pre, PRE_TOKENIZERS))
    return row


def adds_bos(vocabulary: Vocabulary) -> bool:
    """Does a prompt begin with the beginning-of-sequence token?"""
    given: bool | None = vocabulary.header.get("tokenizer.ggml.add_bos_token", bool)
    if given is not None:
        return given
    return vocabulary.model == "llama" or pre_tokenizer(vocabulary).add_bos


def tokenizer_json(vocabulary: Vocabulary) -> str:
    """The text of `tokenizer.json`."""
    from tokenizers import AddedToken, processors

    if "phi-3" in (name := vocabulary.header.get("general.name", str, "").lower()) or "phi3" in name:
        raise _not_yet(vocabulary, "special tokens that swallow the spaces after them (it is named after Phi-3)")
    if (ended := next((text for text in vocabulary.tokens if "\0" in text), None)) is not None:
        raise _not_yet(vocabulary, f"the token {ended!r}, which llama.cpp cuts at its NUL")
    if (pair := crossing([vocabulary.tokens[number] for number in vocabulary.special])) is not None:
        raise _not_yet(vocabulary, f"the special tokens {pair[0]!r} and {pair[1]!r}, of which one begins in the other")
    if (build := _BUILDERS.get(vocabulary.model)) is None:
        raise _not_yet(vocabulary, f"a tokenizer of the kind `{vocabulary.model or '(none)'}`", known=sorted(_BUILDERS))
    tokenizer = build(vocabulary)
    for number in vocabulary.special:
        shown = vocabulary.types[number] == USER_DEFINED
        token = AddedToken(vocabulary.tokens[number], normalized=False, special=not shown)
        (tokenizer.add_tokens if shown else tokenizer.add_special_tokens)([token])
    bos = vocabulary.named("bos")
    if adds_bos(vocabulary) and bos is not None:
        text = vocabulary.tokens[bos]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[text, "$A"], pair=[text, "$A", f"{text}:1", "$B:1"], special_tokens=[(text, bos)])
    return str(tokenizer.to_str(pretty=False))


def _byte_level(vocabulary: Vocabulary) -> Tokenizer:
    """Byte-level BPE without its special tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    row = pre_tokenizer(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary.ids, merges=vocabulary.merges(),
                                     ignore_merges=row.ignore_merges))
    cuts = [*(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in row.patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    # A byte without a token is dropped after merging in llama.cpp, before it here: keep its neighbours apart.
    if missing := sorted(set(pre_tokenizers.ByteLevel.alphabet()) - vocabulary.ids.keys()):
        cuts.append(pre_tokenizers.Split(Regex(f"[{''.join(map(re.escape, missing))}]"), "isolated"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(cuts)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


_BUILDERS: dict[str, Callable[[Vocabulary], Tokenizer]] = {"gpt2": _byte_level, "llama": sentencepiece}


def _not_yet(vocabulary: Vocabulary, what: str, **data: Any) -> Failure:
    return Failure("tokenizer-not-yet",
                   f"{vocabulary.header.path.name} has {what}, which can't be converted exactly yet",
                   "serve it with `ENGINE llama.cpp`, or name a model in safetensors in the stage's FROM", data=data)


def tokenizer_config(vocabulary: Vocabulary, context_length: int) -> dict[str, Any]:
    """`tokenizer_config.json`: the generic class, so that no model-specific code rebuilds the pre-tokenizer."""
    bos = adds_bos(vocabulary)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": bos,
        "add_eos_token": False,
        "added_tokens_decoder": {
            str(number): {"content": vocabulary.tokens[number], "lstrip": False, "normalized": False, "rstrip": False,
                          "single_word": False, "special": vocabulary.types[number] != USER_DEFINED}
            for number in vocabulary.special},
        **special_tokens(vocabulary),
    }


def special_tokens(vocabulary: Vocabulary) -> dict[str, str]:
    """`special_tokens_map.json`: the roles that the file names."""
    roles = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return {name: vocabulary.tokens[number] for name, role in roles.items()
            if (number := vocabulary.named(role)) is not None}


def chat_template(header: Header) -> str | None:
    """The Jinja text that the file brings, None if it brings none."""
    template: str | None = header.get("tokenizer.chat_template", str)
    return template or None


def complete_chat_template(vocabulary: Vocabulary) -> str | None:
    """The chat template with the beginning-of-sequence token where llama.cpp would add one.

    llama.cpp puts the token before every rendered prompt that has none; others render the template and nothing else.
    """
    template = chat_template(vocabulary.header)
    return BEGINS + template if template is not None and left_to_llama_cpp(vocabulary, template) else template

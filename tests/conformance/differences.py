"""The differences between engines that are known and left: each has a name, what it is, and why it is left."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """`said` is a pattern for facts, `cases` one for the cases where it may show, `by` are the engines that show it."""

    id: str
    what: str
    why: str
    said: str
    by: tuple[tuple[str, ...], ...] = (("vllm",),)
    cases: str = ""
    marked: bool = True  # in the table's cells; one that every answer shows would hide the others there

    def explains(self, case: str, said: str, by: tuple[str, ...], of: tuple[str, ...]) -> bool:
        """Whether a found difference is this one. Where an engine was not asked, those asked are looked at alone."""
        sides = {tuple(engine for engine in side if engine in of) for side in self.by}
        return self.about(case) and by in sides and re.fullmatch(self.said, said) is not None

    def about(self, case: str) -> bool:
        return re.search(self.cases, case) is not None


VLLM = (("vllm",),)
OURS_AND_VLLM = (("llama.cpp", "vllm"),)
EACH = (("llama.cpp",), ("llama-server",), ("vllm",), ("llama.cpp", "vllm"), ("llama.cpp", "llama-server"),
        ("llama-server", "vllm"))

_INTERNAL = ("routed_experts|token_ids|prompt_token_ids|prompt_text|prompt_logprobs|ec_transfer_params|"
             "kv_transfer_params|metrics|annotations|audio|function_call|reasoning")
_NULLS = "refusal|stop_reason|service_tier|usage.(completion|prompt)_tokens_details|prompt_logprobs"

DECLARED: tuple[Difference, ...] = (
    Difference(
        "P01", "vLLM's answers have fields of its own.",
        "They are null unless a request asks for what this API does not offer, and a success is not rewritten: that "
        "would cost every answer a pass through JSON.",
        rf"(chat|completion)( stream)?: field (choices\[\]\.)?((message|delta)\.)?({_INTERNAL})", VLLM,
        marked=False),
    Difference(
        "P02", "llama-server's answers lack fields of OpenAI's that are null.",
        "`refusal`, `service_tier`, `stop_reason` and the details of usage say nothing here; a client that reads them "
        "finds none, which the `openai` package takes for null.",
        rf"(chat|completion)( stream)?: field (choices\[\]\.)?((message|delta)\.)?({_NULLS})", OURS_AND_VLLM,
        marked=False),
    Difference(
        "P03", "The spellings of tokens that `/tokenize` gives on request differ.",
        "vLLM gives the vocabulary's own strings (`Ġupon`), our engine texts (` upon`), llama-server none. The ids are "
        "equal, and only the engine's own socket has this path.",
        "token_strs: .*", EACH, "test_a_tokens_text_may_be_asked_for"),
    Difference(
        "P04", "llama-server cannot repeat the prompt.",
        "`echo` is a 400 there, which names the field; our engine and vLLM answer.",
        "completion( stream)?: .*", (("llama.cpp", "vllm"), ("llama-server",)), "test_an_echo_where_the_engine_can"),
    Difference(
        "P05", "Chunks that say nothing have different fields.",
        "llama-server's first chunk under a grammar has no role, its last delta is empty, and so is vLLM's where the "
        "end comes without a text; our engine's last delta has an empty content. Clients put chunks together alike.",
        r"chat stream: field (choices\[\]\.(logprobs|delta\.(role|content))|(first|last) delta: (role|content))",
        (("llama.cpp", "vllm"), ("llama.cpp",)), marked=False),
    Difference(
        "P06", "llama-server has no regular expressions and no grammars that mean what vLLM's mean.",
        "`structured_outputs.regex` and `.grammar` are a 400 there, which names the field.",
        "chat: .*", (("llama.cpp", "vllm"), ("llama-server",)), "test_a_pattern_or_a_grammar_is_kept"),
    Difference(
        "P07", "llama-server's converter of JSON schemas knows fewer of them.",
        "Tuples are refused with a 400.",
        "chat: .*", (("llama.cpp", "vllm"), ("llama-server",)), "test_structured::test_a_schema_is"),
    Difference(
        "P13", "What no engine takes for a schema is a 400 whose `code` and `param` are the engine's.",
        "The contract looks at the form of a schema, the engine's compiler at its meaning: our engine names the field, "
        "the others only say what is wrong.",
        "chat: 400 .*", EACH, "test_a_schema_that_is_none"),
    Difference(
        "P08", "A bias for a token that the vocabulary has not is refused, but by llama-server.",
        "It ignores the entry. The code is the engine's: only it knows its vocabulary.",
        "chat: .*|bias beyond the vocabulary: .*", (("llama.cpp", "vllm"), *EACH[:3]),
        "test_a_bias_for_a_token_that_is_none"),
    Difference(
        "P09", "llama-server's presence and frequency penalties look at the prompt, too.",
        "It has one window for all three; the other engines look at the answer alone, as OpenAI does. Shortening the "
        "window would take the prompt from the repetition penalty, which does look at it.",
        "(presence|frequency)_penalty looks at the prompt: (true|false)", (("llama.cpp", "vllm"), ("llama-server",)),
        "test_the_other_penalties"),
    Difference(
        "P10",
        "Log-probabilities of llama-server are the likeliest alternatives without the token that ends an answer.",
        "vLLM and our engine begin with the drawn token, give a forced token what the grammar left it, and have an "
        "entry for the end of the turn.",
        "(log-probabilities are the model's own|the one alternative is the likeliest|the end is among).*",
        (("llama.cpp", "vllm"), ("llama-server",))),
    Difference(
        "P11", "Half a character at the end of an answer is shown in three ways.",
        "Our engine shows U+FFFD for the bytes of a character that the limit cut, vLLM an empty text, llama-server no "
        "text at all.",
        r"half a character: .*|chat stream: field (choices\[\]\.delta\.content|first delta: content)", EACH,
        "test_a_character_that_is_cut_off"),
    Difference(
        "P12", "A token id beyond the vocabulary is a 400 whose `param` is the engine's word.",
        "Only the engine knows its vocabulary, and the three report it in their own ways.",
        "completion: 400 .*", EACH, "test_a_token_that_the_vocabulary_has_not"),
    Difference(
        "P14", "A forced call that the limit cuts is shown as half a call, but by vLLM.",
        "vLLM gives the raw beginning of it as content. Both end with `length`, and neither can be used.",
        "(chat: field .*tool_calls.*|what a cut call looks like: .*)", (("llama.cpp", "llama-server"), ("vllm",)),
        "test_a_call_that_is_cut_off"),
)

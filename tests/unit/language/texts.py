"""Texts to throw at the parser: made of the pieces that its rules are about, in every order."""

from __future__ import annotations

from hypothesis import strategies as st

OLLAMA_PIECES = (
    "FROM", "from", "PARAMETER", "parameter", "MESSAGE", "SYSTEM", "TEMPLATE", "LICENSE", "ADAPTER", "REQUIRES",
    "user", "system", "assistant", "stop", "temperature", "num_ctx", "x", "0.5", "hello", "\\n", ":", "=", "-", "_",
    "1", " ", " ", " ", "\t", "  ", "\n", "\n", "\n", "\r", "\r\n", '"', '"', '"""', '"""', "'", "#", "# ",
    "\u00a0", "\u200b", "\u200d", "\ufeff", "\x00", "\u8bed", "\U0001f469", "\ufffd", "\u0301", "{{ .Prompt }}",
)  # fmt: skip
OUR_PIECES = (
    *OLLAMA_PIECES, "STAGE", "STAGE dev {\n", "TEST", 'TEST "t" {\n', "{", "}", "\n}\n", "QUANTIZE", "ENGINE", "SERVE",
    "EXPECT", "TRY", "UNSET", "USER", "ASSISTANT", "NAME", "FLAG", "POLICY", "EXTENDS",
)  # fmt: skip
_LINES = (
    "FROM x\n", "PARAMETER stop a\n", 'PARAMETER stop "a"\n', 'SYSTEM """a\nb"""\n', 'SYSTEM "a\n', "MESSAGE user hi\n",
    "# c\n", "\n", 'SYSTEM """a\n', 'b"""\n', "FROM x\r\n", "SYSTEM a # b\n",
)  # fmt: skip


def ollama_like() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(OLLAMA_PIECES + _LINES), max_size=25).map("".join)


def ours_like() -> st.SearchStrategy[str]:
    return st.lists(st.sampled_from(OUR_PIECES + _LINES), max_size=30).map("".join)

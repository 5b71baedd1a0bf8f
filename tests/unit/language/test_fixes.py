"""Fixes: what each rule's makes of a text, and what several make of it together."""

from __future__ import annotations

import pytest

from modelkit.language.check import compile_source
from modelkit.language.diagnostic import Edit, Fix
from modelkit.language.fixes import apply, comment_above, instead, line_end, without
from modelkit.language.source import Source, Span
from modelkit.language.suppressions import suppress

SAFE = (
    ("unknown-instruction", "SYSTEM: Be terse.", "SYSTEM Be terse."),
    ("unknown-instruction", "SYSTEM\u00a0Be terse.", "SYSTEM Be terse."),
    ("unknown-instruction", "PARAMETER= top_k 4", "PARAMETER top_k 4"),
    ("unknown-instruction", "SY\u200bSTEM Be terse.", "SYSTEM Be terse."),
    ("unknown-instruction", "```", None),
    ("bad-parameter-name", "PARAMETER temperature=0.5", "PARAMETER temperature 0.5"),
    ("bad-parameter-name", "PARAMETER temperature: 0.5", "PARAMETER temperature 0.5"),
    ("bad-parameter-name", "PARAMETER num-ctx 4096", "PARAMETER num_ctx 4096"),
    ("bad-role", "MESSAGE User hi", "MESSAGE user hi"),
    ("bad-role", "MESSAGE user: hi", "MESSAGE user hi"),
    ("bad-role", "MESSAGE \t user hi", "MESSAGE user hi"),
    ("unclosed-quote", '  SYSTEM "Be terse." # really', '  # really\n  SYSTEM "Be terse."'),
    ("bad-block-header", "STAGE dev { # mine\n}", "# mine\nSTAGE dev {\n}"),
    ("text-after-brace", "STAGE dev {\n} # mine", "STAGE dev {\n}\n# mine"),
    ("text-after-brace", "STAGE dev {\n}   SYSTEM Hi", "STAGE dev {\n}\nSYSTEM Hi"),
    ("inline-comment", "PARAMETER top_k 4 # few", "# few\nPARAMETER top_k 4"),
    ("inline-comment", "QUANTIZE Q8_0 # big", "# big\nQUANTIZE Q8_0"),
    ("double-space-before-name", "PARAMETER  top_k 4", "PARAMETER top_k 4"),
    ("parameter-acts-as-instruction", "parameter system Hi", "system Hi"),
    ("parameter-acts-as-instruction", "PARAMETER message user: hi", "MESSAGE user hi"),
    ("deleted-characters", "SYSTEM a\u200bb\ufeff c", "SYSTEM ab c"),
    ("wrong-case-parameter", "PARAMETER Top_K 4", "PARAMETER top_k 4"),
    ("deprecated-parameter", "PARAMETER mirostat 1", None),
    ("removed-parameter", "PARAMETER num_gqa 8", None),
    ("unknown-parameter", "PARAMETER port 8000", "SERVE port 8000"),
    ("unknown-serve-key", "SERVE  top_k 4", "PARAMETER top_k 4"),
    ("unknown-engine", "ENGINE vllm>=0.32", "ENGINE vllm >=0.32"),
    ("empty-value", 'SYSTEM ""', None),
    ("empty-value", 'PARAMETER stop ""', None),
    ("duplicate-scalar", "PARAMETER seed 1\nPARAMETER seed 2", "PARAMETER seed 2"),
    ("duplicate-scalar", 'SYSTEM """a\nb"""\n# c\nSYSTEM d', "# c\nSYSTEM d"),
    ("useless-unset", "SYSTEM a\nUNSET SYSTEM", "UNSET SYSTEM"),
    ("several-adapters", "ADAPTER ./a.gguf\nADAPTER ./b.gguf", "ADAPTER ./b.gguf"),
    ("unused-ignore", "# modelkit: ignore[empty-value] a\nSYSTEM b", "SYSTEM b"),
    ("unused-ignore", '# modelkit: ignore[inline-comment,  empty-value] a\nSYSTEM ""',
     '# modelkit: ignore[empty-value] a\nSYSTEM ""'),
)
GUESSES = (
    ("unknown-instruction", "SYSTM Hi", "SYSTEM Hi"),
    ("unclosed-quote", 'SYSTEM """Hi  ', 'SYSTEM """Hi"""  '),
    ("unclosed-quote", 'SYSTEM "Hi" he said', 'SYSTEM """"Hi" he said"""'),
    ("unclosed-block", "STAGE dev {\n  SERVE port 1\nSTAGE prod {\n}",
     "STAGE dev {\n  SERVE port 1\n}\nSTAGE prod {\n}"),
    ("unclosed-block", "STAGE dev {", "STAGE dev {\n}\n"),
    ("stray-brace", "}", None),
    ("bad-block-header", "STAGE dev\n}", "STAGE dev {\n}"),
    ("bad-role", "MESSAGE assistent hi", "MESSAGE assistant hi"),
    ("bad-parameter-name", "PARAMETER a-b 1", "PARAMETER a_b 1"),
    ("inline-comment", "SYSTEM Be # terse", "# terse\nSYSTEM Be"),
    ("quote-swallows-instruction", 'PARAMETER stop "a\nPARAMETER stop "b"', 'PARAMETER stop "a"\nPARAMETER stop "b"'),
    ("not-a-quote", "SYSTEM 'Hi'", 'SYSTEM "Hi"'),
    ("several-strings", '  PARAMETER stop ["a", "b"]', '  PARAMETER stop "a"\n  PARAMETER stop "b"'),
    ("several-strings", 'PARAMETER stop "a" "b"', 'PARAMETER stop "a"\nPARAMETER stop "b"'),
    ("literal-escape", r'PARAMETER stop "\nUser:\t"', 'PARAMETER stop """\nUser:\t"""'),
    ("deleted-characters", "SYSTEM a\u00a0b\u200bc", "SYSTEM a bc"),
    ("unknown-parameter", "PARAMETER max_tokens 4", "PARAMETER num_predict 4"),
    ("unknown-parameter", "PARAMETER from x:1", "FROM x:1"),
    ("removed-parameter", "PARAMETER keep_alive 5m", "SERVE keep_alive 5m"),
    ("bad-value", "PARAMETER num_ctx 4k", "PARAMETER num_ctx 4096"),
    ("bad-name", "NAME my bot", "NAME my-bot"),
    ("bare-org-name", "FROM Qwen/Qwen3", "FROM hf.co/Qwen/Qwen3"),
    ("name-is-path", "FROM m.gguf", "FROM ./m.gguf"),
    ("bad-reference", "FROM http://a.example/m.gguf", "FROM https://a.example/m.gguf"),
    ("unknown-stage", "STAGE prd {\n}", "STAGE prod {\n}"),
    ("unknown-rule", '# modelkit: ignore[empty-vlaue] a\nSYSTEM ""', '# modelkit: ignore[empty-value] a\nSYSTEM ""'),
    ("bad-ignore", '# modelkit: ignroe[empty-value] a\nSYSTEM ""', '# modelkit: ignore[empty-value] a\nSYSTEM ""'),
)
NONE = (
    ("deleted-characters", "SYSTEM \U0001f469\u200d\U0001f680"),  # a joined emoji falls apart, whatever is written
    ("secret-in-file", "SERVE api_key my-secret"),  # the key would be gone
    ("bad-value", "PARAMETER num_ctx 4k # four"),  # the comment would be gone
    ("unknown-metric", "STAGE prod {\n  EXPECT ttft.p96 <= 1s\n}"),  # several are as near
    ("parameter-acts-as-instruction", 'PARAMETER message "user: hi"'),
    ("bad-name", "NAME s\u200bupport bot"),  # what is written is not what is read
)


def fix_of(rule: str, text: str) -> Fix | None:
    source = Source("Modelfile", text)
    found = [one for one in suppress(source, compile_source(source)[1])[0] if one.rule.id == rule]
    assert found, f"{rule} is not found in {text!r}"
    return next((one.fix for one in found if one.fix), None)


ROWS = [*((*row, True) for row in SAFE), *((*row, False) for row in GUESSES)]
IN_SEVERAL_LINES = ("duplicate-scalar", "literal-escape")  # a text with CRLF in it is another rule's


@pytest.mark.parametrize(("rule", "bad", "good", "safe", "end"), [
    *((*row, "\n") for row in ROWS), *((*row, "\r\n") for row in ROWS if row[0] not in IN_SEVERAL_LINES)])
def test_a_fix_writes(rule: str, bad: str, good: str | None, safe: bool, end: str) -> None:
    first = "FROM llama3.2:3b\n" if not bad.startswith("FROM") else "# first\n"
    text = f"{first}{bad}\n".replace("\n", end)
    fix = fix_of(rule, text)
    assert fix is not None and fix.safe is safe
    wanted = first if good is None else f"{first}{good}\n"
    assert apply(text, [fix])[0].rstrip() == wanted.replace("\n", end).rstrip()


@pytest.mark.parametrize(("rule", "text"), NONE)
def test_some_have_none(rule: str, text: str) -> None:
    assert fix_of(rule, f"FROM llama3.2:3b\n{text}\n") is None


def edit(start: int, end: int, text: str) -> Edit:
    return Edit(Span(start, end), text)


def test_all_of_a_fix_or_none_of_it() -> None:
    first, second = Fix("a", (edit(0, 2, "X"),)), Fix("b", (edit(1, 3, "Y"), edit(6, 6, "!")))
    assert apply("abcdef", [first, second]) == ("Xcdef", [first])
    assert apply("abcdef", [second, first]) == ("aYdef!", [second])


def test_neighbours_do_not_touch() -> None:
    fixes = [Fix("a", (edit(0, 2, "X"),)), Fix("b", (edit(2, 4, "Y"),)), Fix("c", (edit(4, 4, "-"),))]
    assert apply("abcdef", fixes) == ("XY-ef", fixes)


def test_two_that_are_the_same_are_made_once() -> None:
    fixes = [Fix("a", (edit(0, 1, ""),)), Fix("b", (edit(0, 1, ""),))]
    assert apply("abc", fixes) == ("bc", fixes)


def test_two_insertions_at_one_place_wait_for_each_other() -> None:
    fixes = [Fix("a", (edit(1, 1, "x"),)), Fix("b", (edit(1, 1, "y"),))]
    assert apply("abc", fixes) == ("axbc", fixes[:1])


def test_a_fix_that_contradicts_itself_is_not_made() -> None:
    fix = Fix("a", (edit(0, 2, "x"), edit(1, 3, "y")))
    assert apply("abc", [fix]) == ("abc", [])


@pytest.mark.parametrize(("text", "marked", "left"), [
    ("a\nbb\nc", "bb", "a\nc"), ("a\r\nbb\r\nc", "bb", "a\r\nc"), ("a\nbb", "bb", "a\n"), ("bb\rc", "bb", "c"),
    ("a\nb\nb\nc", "b\nb", "a\nc"), ("bb", "bb", ""),
])
def test_whole_lines_are_removed(text: str, marked: str, left: str) -> None:
    start = text.index(marked)
    fix = without(Source("Modelfile", text), Span(start, start + len(marked)), "it")
    assert apply(text, [fix])[0] == left


def test_a_moved_comment_keeps_the_indent_and_the_line_end() -> None:
    text = "FROM x\r\n\tSERVE port 1   # c  \r\n"
    value, comment = Span(text.index("1"), len(text) - 2), Span(text.index("#"), len(text) - 2)
    fix = comment_above(Source("Modelfile", text), value, comment, safe=True)
    assert apply(text, [fix])[0] == "FROM x\r\n\t# c\r\n\tSERVE port 1\r\n"


@pytest.mark.parametrize(("text", "end"), [("a", "\n"), ("a\r\nb\n", "\r\n"), ("a\rb", "\r"), ("\n\r\n", "\n")])
def test_the_line_end_is_the_first_lines(text: str, end: str) -> None:
    assert line_end(Source("Modelfile", text)) == end


def test_a_title_says_what_is_written() -> None:
    assert instead(Span(0, 1), "x").title == "write `x`"

"""What is no Go template, or can't be said in Jinja: one sentence, at its place. Whatever the text is, nothing else."""

from __future__ import annotations

import random
import re

import pytest

from modelkit.templates import is_jinja, jinja_of
from modelkit.templates.go_nodes import TemplateError
from modelkit.templates.go_template import convert
from tests.unit.templates.test_prompts import CASES

SYNTAX = [  # the text, what is marked, a part of the message
    ("a {{ .System", "{{", "not closed"),
    ("{{ .System }} {{ end }}", "end", "no beginning"),
    ("{{ if .System }}a", "{{ if", "no `{{ end }}`"),
    ("{{ range .Messages }}{{ else }}{{ else }}{{ end }}", "else", "after the `else`"),
    ("{{ m.content }}", "m", "no function `m`"),
    ("{{ $x }}", "$x", "not declared"),
    ("{{ if .A }}{{ $x := 1 }}{{ end }}{{ $x }}", "$x", "not declared"),
    ("{{ break }}", "break", "outside of a `range`"),
    ("{{ .A == 1 }}", "=", "can't stand here"),
    ('{{ "abc }}', '"', "quote is not closed"),
    ("{{/* abc }}", "{{/*", "comment"),
    ("{{ (.A }}", "(", "not closed"),
    ("{{ }}", "}}", "missing"),
    ("{{ nil }}", "nil", "nil"),
    ("{{ 1 2 }}", "1 2", "only a function"),
    ('{{ "\\q" }}', "\\q", "escape"),
    ("{{ 'ab' }}", "'ab'", "one character"),
    ("{{ 99999999999999999999 }}", "99999999999999999999", "no number"),
    ("{{ .A | 1 }}", "1", "only a function can stand behind"),
    ("{{ eq .System 1 }}", "eq .System 1", "can't be compared"),
    ("{{ range .System }}{{ end }}", ".System", "can't go through a text"),
    ("{{ range .Messages }}{{ .Contents }}{{ end }}", ".Contents", "no field `Contents`"),
    ("{{ .System.Role }}", ".System.Role", "no field `Role`"),
    ("{{ not }}", "not", "takes 1 value"),
    ("{{ len .Messages .Tools }}", "len .Messages .Tools", "takes 1 value"),
    ('{{ printf "%d" }}', 'printf "%d"', "no value"),
]

UNSUPPORTED = [
    ('{{ define "a" }}x{{ end }}', "define"), ('{{ template "a" }}', "template"), ("{{ yesterdayDate }}", "yesterday"),
    ("{{ js .System }}", "js"), ("{{ .Messages }}", "as a whole"),
    ("{{ range .Messages }}{{ . }}{{ end }}", "as a whole"),
    ("{{ range .Messages }}{{ .Images }}{{ end }}", "images"), ('{{ printf "%q" .System }}', "%q"),
    ("{{ $x := .System }}{{ range .Messages }}{{ $x = . }}{{ end }}", "holds a text before"),
    ("{{ len .Messages }}{{ range .Tools }}{{ range .Items }}{{ end }}{{ end }}", "not known before"),
    ("{{ if .A }}" * 200 + "{{ end }}" * 200, "deep"), ("{{ " + "(" * 200 + ".A" + ")" * 200 + " }}", "deep"),
]


@pytest.mark.parametrize(("text", "marked", "message"), SYNTAX)
def test_what_go_or_ollama_refuses(text: str, marked: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        convert(text)
    assert caught.value.kind == "syntax" and message in caught.value.message
    assert text[caught.value.at : caught.value.end].rstrip() == marked


@pytest.mark.parametrize(("text", "message"), UNSUPPORTED)
def test_what_jinja_cannot_say(text: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        convert(text)
    assert caught.value.kind == "unsupported" and message in caught.value.message


def test_a_hint_names_the_nearest_field() -> None:
    with pytest.raises(TemplateError) as caught:
        convert("{{ range .Messages }}{{ .Contents }}{{ end }}")
    assert caught.value.hint == "did you mean `.Content`?"


def test_a_branch_that_is_never_taken_may_say_anything() -> None:
    assert convert("{{ if .Suffix }}{{ .Suffix.X.Y }}{{ js 1 }}{{ end }}{{ .Prompt }}").failing == ()


def test_variables_that_ollama_does_not_give_are_listed() -> None:
    made = convert("{{ .First }}{{ if .System }}{{ .Prompt }}{{ end }}{{ $.Kontext }}")
    assert [one.name for one in made.unknown] == ["First", "Kontext"]


def test_jinja_is_known_by_its_tags() -> None:
    assert is_jinja("{% if x %}") and not is_jinja("{{ .Prompt }}")
    assert jinja_of("{% if x %}{% endif %}") == "{% if x %}{% endif %}"


WORDS = re.findall(r"\S+", """
{{ }} {{- -}} .Messages .Role .Content $ $x := = | ( ) "a" `r` 'c' 1 1.5 if range with end else and or not eq ne len
index slice printf json .ToolCalls .Function.Arguments .Tools nil true , break continue . .System .Prompt .Response
define 0x1 -1 /* */ {{end}} {{else}}""")


def drawn(number: random.Random) -> str:
    """Words in a row, or a template of ours with a few words put into it."""
    if number.random() < 0.5:
        return " ".join(number.choice(WORDS) for _ in range(number.randint(1, 20)))
    text = number.choice(list(CASES["templates"].values()))
    for _ in range(number.randint(1, 3)):
        at = number.randrange(len(text) + 1)
        text = text[:at] + number.choice(WORDS) + text[at + number.randint(0, 6) :]
    return text


def test_any_text_is_converted_or_refused_at_a_place_in_it() -> None:
    number, made = random.Random(7), 0
    for _ in range(3000):
        text = drawn(number)
        try:
            convert(text)
            made += 1
        except TemplateError as error:
            assert 0 <= error.at <= len(text) and error.at < error.end and error.message
    assert made > 200

"""Rendering in a process of its own, which has an end whatever the template does."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.templates.rendering import Limits, render

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Grüße"}]}
ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


def test_the_prompt_comes_back() -> None:
    template = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}{{ tools|length }}"
    tools = [{"type": "function", "function": {"name": "a"}}]
    assert render(template, {**HELLO, "tools": tools}, {"bos_token": "<s>"}) == "<s>user: Grüße1"


@pytest.mark.parametrize(("template", "reason"), [
    ("{% if %}", "can't be read"), ("{{ raise_exception('no system role') }}", "no system role"),
    ("{{ messages.__class__.__mro__ }}", "unsafe"), (ENDLESS, "come to an end"), ("{{ 'a' * 999999999 }}", "more than"),
    ("{{ missing.field }}", "undefined")])
def test_what_the_template_refuses_is_one_failure(template: str, reason: str) -> None:
    with pytest.raises(Failure) as caught:
        render(template, HELLO, {})
    assert caught.value.code == "template-refuses" and reason in caught.value.message


@pytest.mark.parametrize("limits", [
    Limits(wall_seconds=0.01), Limits(cpu_seconds=1), Limits(output=4096)], ids=["wall", "cpu", "output"])
def test_beneath_the_sandbox_the_system_ends_it(limits: Limits) -> None:
    with pytest.raises(Failure) as caught:
        render(ENDLESS if limits.output > 4096 else "{{ 'a' * 9999 }}", HELLO, {}, limits)
    assert caught.value.code == "template-beyond-limits"


def test_its_memory_has_an_end() -> None:
    big = "{% set ns = namespace(a=[]) %}{% for i in range(90000) %}{% set ns.a = [ns.a, 'x' * 9999 ~ i] %}{% endfor %}"
    with pytest.raises(Failure) as caught:
        render(big, HELLO, {}, Limits(memory=128 << 20))
    assert caught.value.code in ("template-refuses", "template-beyond-limits")

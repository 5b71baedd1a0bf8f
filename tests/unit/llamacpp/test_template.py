"""Chat templates: what they get, what they write, and what they can't do."""

from __future__ import annotations

from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.llamacpp.template import Template

HI = [{"role": "user", "content": "hi"}]


def rendered(text: str, messages: Any = HI, **said: Any) -> str:
    return Template(text, {"bos_token": "<s>", "eos_token": "</s>"}).render(messages, **said)


def refused(text: str, messages: Any = HI, *, seconds: float = 0.2, **said: Any) -> str:
    template = Template(text, seconds=seconds, size=1_000_000)
    with pytest.raises(ContractError) as error:
        template.render(messages, **said)
    assert error.value.status == 400
    return error.value.message


@pytest.mark.parametrize(("text", "wanted"), [
    ("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}{{ nobody }}", "<s>hi</s>"),
    ("{% for m in messages %}\n  {%- if true %}\n    {% set x = 1 %}\n{{ m.role }}\n  {% endif %}\n{% endfor %}",
    "user\n"),
    ("{{ {'b': '<é>&', 'a': [none, true, 1.0]} | tojson }}", '{"b": "<é>&", "a": [null, true, 1.0]}'),
    ("{{ {'a': 1} | tojson(indent=2) }}", '{\n  "a": 1\n}'),
    ("{{ {'b': 1, 'a': 'é'} | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}",
     '{"a":"\\u00e9","b":1}'),
    ("{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i > 3 %}{% break %}{% endif %}{{ i }}"
     "{% endfor %}", "023"),
    ("{% generation %}a{{ messages[0].role }}{% endgeneration %}b", "auserb"),
    ("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}", "1"),
    ("{% macro f(x) %}[{{ x }}{{ caller() if caller }}]{% endmacro %}{{ f('a') }}{% call f('b') %}c{% endcall %}",
    "[a][bc]"),
    ("{{ [1, 'a'] ~ none ~ 2.5 }}{{ 'a' * 3 }}{{ '%s-%03d' % ('x', 7) }}{{ '{:>4}'.format(1) }}",
    "[1, 'a']None2.5aaax-007   1"),
    ("{{ ['a', 'b'] | join(', ') }}{{ 'aXa'.replace('a', 'bb') }}{{ 'a\nb' | indent(2) }}", "a, bbbXbba\n  b"),
    ("{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}", "TrueTrueTrue"),
    ("{{ strftime_now('%Y') | length }}", "4"),
])
def test_it_writes_what_transformers_writes(text: str, wanted: str) -> None:
    assert rendered(text) == wanted


def test_variables_are_those_that_the_template_reads() -> None:
    said = {"enable_thinking": False, "padding": True, "bos_token": "<B>"}
    assert rendered("{{ enable_thinking }}{{ bos_token }}", variables=said) == "False<B>"
    assert rendered("{{ documents[0].text }}", variables={"documents": [{"text": "d"}]}) == "d"
    for name in ("messages", "tools", "chat_template", "tokenize"):
        assert name in refused("{{ messages }}", variables={name: 1})


def test_a_template_says_no_in_its_own_words() -> None:
    assert refused("{{ raise_exception('roles must alternate') }}") == "roles must alternate"
    assert refused("{{ messages[0].nothing.at_all }}") == "'dict object' has no attribute 'nothing'"
    assert len(refused("{{ raise_exception('x' * 5000) }}")) <= 1000


@pytest.mark.parametrize(("text", "problem"), [
    ("{% for m in messages %}", "line 1"), ("\n{{ a b }}", "line 2"), ("{% nope %}", "unknown tag 'nope'"),
    ("{{ 'a' | nope }}", "nope"), ("{{ " + "(" * 3000 + ")" * 3000 + " }}", "can't be read"),
])
def test_what_is_no_template_fails_the_start_in_one_sentence(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="the chat template can't be read") as error:
        Template(text)
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}{% endfor %}"
    "{% endfor %}",
    "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% macro f(n) %}{{ caller() }}{% endmacro %}{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% call f(1) %}{% endcall %}{% endfor %}{% endfor %}",
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% for i in range(100) recursive %}{{ loop(range(100)) }}{% endfor %}",
])
def test_what_does_not_end_is_ended(text: str) -> None:
    assert any(word in refused(text) for word in ("come to an end", "more than a prompt", "nests too deep"))


_DOUBLING = "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = @ %}{% endfor %}"


@pytest.mark.parametrize("text", [
    "{{ 'a' * 10 ** 9 }}", "{{ 10 ** 9 * 'a' }}", "{{ [1] * 10 ** 9 }}", "{{ 9 ** (9 ** 9) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}", "{{ '{:>999999999}'.format(1) }}", "{{ '{:>{}}'.format(1, 999999999) }}",
    "{{ 'a' | center(999999999) }}", "{{ 'a'.ljust(999999999) }}", "{{ 'a'.zfill(999999999) }}",
    "{{ (1).to_bytes(999999999, 'big') }}", "{{ 'a' | indent(999999999) }}", "{{ [1] | batch(999999999, 0) | list }}",
    "{{ ('a' * 99999).replace('a', 'b' * 99999) }}", "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "{{ (['a' * 9999] * 9999) | join }}", "{{ ('a' * 9999).join(['b'] * 9999) }}", "{{ '%999999999d' | format(1) }}",
    "{{ ('\t' * 99999).expandtabs(9999) }}", "{{ {'a': 1} | tojson(indent=999999999) }}",
    _DOUBLING.replace("@", "n.x + n.x"), _DOUBLING.replace("[1]", "'a'").replace("@", "n.x ~ n.x"),
    _DOUBLING.replace("[1]", "1").replace("@", "(n.x + 1) * (n.x + 1)"),
    _DOUBLING.replace("@", "[n.x, n.x]") + "{{ n.x }}", _DOUBLING.replace("@", "[n.x, n.x]") + "{{ n.x | tojson }}",
    _DOUBLING.replace("@", "{'a': n.x, 'b': n.x}") + "{{ n.x | string }}",
    _DOUBLING.replace("@", "[namespace(a=n.x), namespace(a=n.x)]") + "{{ n.x }}",
    "{{ '%s' | format('a' * 999999) * 99 }}",
])
def test_nothing_is_made_larger_than_a_prompt(text: str) -> None:
    assert refused(text, seconds=5) == "the chat template makes more than a prompt can be"


@pytest.mark.parametrize("text", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ messages.__class__ }}", "{{ messages.append(1) }}",
    "{{ messages[0].pop('content') }}", "{{ messages[0].update(a=1) }}", "{{ '{0.__class__}'.format(1) }}",
    "{{ namespace.__init__.__globals__ }}", "{{ raise_exception.__globals__ }}", "{% include 'x' %}",
    "{% import 'x' as y %}",
    "{{ lipsum.__globals__ }}", "{{ cycler.__init__.__globals__.os }}",
    "{{ self.__init__ }}{{ self._TemplateReference__context.x }}",
    "{{ ''['__cla' ~ 'ss__'].x }}", "{{ messages | map(attribute='__class__') | list | first | string | length / 0 }}",
])
def test_nobody_gets_out_of_the_sandbox(text: str) -> None:
    """What is not allowed is an error, or an undefined value, which is written as nothing."""
    before = [dict(message) for message in HI]
    try:
        assert rendered(text) == ""
    except ContractError as error:
        assert error.status == 400
    assert before == HI


@pytest.mark.parametrize(("text", "wanted"), [
    ("{% for m in messages %}{{ m.content }}{% endfor %}", "string"),
    ("{% for m in messages %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
    ("{% for m in messages %}{% for p in m['content'] | list %}{% endfor %}{% endfor %}", "openai"),
    ("{% set rest = messages[1:] %}{% for m in rest %}{% for p in m.content %}{% endfor %}{% endfor %}", "openai"),
    ("{% macro show(c) %}{% for p in c %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(m.content) }}"
     "{% endfor %}", "openai"),
    ("{% macro show(c) %}{% for p in c %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(c=m.content) }}"
     "{% endfor %}", "openai"),
    ("{% macro show(c) %}{% for p in c %}{% endfor %}{% endmacro %}{% for m in messages %}{{ show(tools) }}"
     "{% endfor %}", "string"),
    ("{% for m in messages %}{% set content = m.content %}{% for p in content %}{% endfor %}{% endfor %}", "openai"),
    ("{% for t in tools %}{% for p in t.content %}{% endfor %}{% endfor %}", "string"),
    ("{% for m in messages %}{% for c in m.tool_calls %}{% endfor %}{% endfor %}", "string"),
])
def test_whether_it_wants_contents_in_parts(text: str, wanted: str) -> None:
    assert Template(text).content_format == wanted

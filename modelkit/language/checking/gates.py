"""Tests and gates that cannot fail, cannot pass, or pass on some days only."""

from __future__ import annotations

from modelkit.language.checking.context import shown
from modelkit.language.checking.views import Checked
from modelkit.language.diagnostic import Note
from modelkit.language.modelfile import Assertion, Said, Test
from modelkit.language.rules.meaning import GATE_WITHOUT_TESTS, TEST_CANNOT_PASS, TEST_ENDS_WITH_ANSWER
from modelkit.language.rules.style import UNSTEADY_TEST


def judge_tests(checked: Checked) -> None:
    """Reports tests and gates that say nothing."""
    for test in checked.modelfile.tests:
        _contradictions(test, checked)
        if test.turns and test.turns[-1].value.role == "assistant":
            checked.say(TEST_ENDS_WITH_ANSWER, "the conversation ends with an answer, and nobody asks for another",
                        test.turns[-1].span, hint="write what the answer should be as `EXPECT …`")
        temperature = test.parameters.get("temperature")
        if test.repeat == 1 and temperature is not None and float(temperature.value) > 0:
            for said in test.expectations:
                if said.value.kind == "equals" and not said.value.negated:
                    checked.say(UNSTEADY_TEST, "the model may say this in other words on another day", said.span,
                                hint="take the temperature out of the test: it is then asked greedily")
    for view in checked.views:
        for gate in view.said.expectations:
            if gate.value.metric == "tests" and not checked.modelfile.tests:
                checked.say(GATE_WITHOUT_TESTS, "this file has no TEST that could pass", gate.span)


def _contradictions(test: Test, checked: Checked) -> None:
    seen: dict[tuple[str, str], Said[Assertion]] = {}
    for said in test.expectations:
        kind = said.value.kind
        other = seen.setdefault((kind, said.value.operand), said)
        if other.value.negated != said.value.negated:
            checked.say(TEST_CANNOT_PASS, f"this `{shown(kind)}` is the opposite of another one", said.span,
                        notes=[Note("both can't be true", other.span)])

"""Golden conversations: a Modelfile's TESTs and the golden files beside it, held with a model and checked."""

from modelkit.release.testing.case import Call, Case, Check, Place, Turn
from modelkit.release.testing.modelfile_cases import cases_of
from modelkit.release.testing.report import CaseResult, TestReport
from modelkit.release.testing.runner import Options, run_tests
from modelkit.release.testing.suite import Suite, options_of, suite_of

__all__ = ["Call", "Case", "CaseResult", "Check", "Options", "Place", "Suite", "TestReport", "Turn", "cases_of",
           "options_of", "run_tests", "suite_of"]

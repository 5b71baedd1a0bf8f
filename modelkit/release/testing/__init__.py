"""Golden conversations: a Modelfile's TESTs and the golden files beside it, held with a model and checked."""

from modelkit.release.testing.case import Call, Case, Check, Place, Turn
from modelkit.release.testing.modelfile_cases import cases_of
from modelkit.release.testing.report import CaseResult, TestReport
from modelkit.release.testing.runner import Options, run_tests

__all__ = ["Call", "Case", "CaseResult", "Check", "Options", "Place", "TestReport", "Turn", "cases_of", "run_tests"]

"""How good a model's answers are: questions with known answers, scored one by one.

A task is a file of one's own (asked and scored here), a task of lm-eval, or one of Inspect; those two run in
environments of their own and ask the same endpoint. Every score keeps what each question got, so that two models are
compared question by question.
"""

from modelkit.release.evaluation.run import run
from modelkit.release.evaluation.score import Paired, Question, Score, not_worse, paired
from modelkit.release.evaluation.tasks import Task, find_task

__all__ = ["Paired", "Question", "Score", "Task", "find_task", "not_worse", "paired", "run"]

"""Document to Modelfile: every name known, every value typed and in range, all mistakes at once."""

from __future__ import annotations

from collections.abc import Iterable

from modelkit.language.checking.context import Context
from modelkit.language.checking.conversations import read_tests
from modelkit.language.checking.exposure import judge_exposure
from modelkit.language.checking.gates import judge_tests
from modelkit.language.checking.layer import LayerReader, meant
from modelkit.language.checking.overrides import judge_overrides
from modelkit.language.checking.prompts import judge_prompts
from modelkit.language.checking.running import judge_running
from modelkit.language.checking.secrets import find_secrets
from modelkit.language.checking.stages import read_stages
from modelkit.language.checking.style import judge_style
from modelkit.language.checking.variables import with_values
from modelkit.language.checking.views import Checked
from modelkit.language.diagnostic import Diagnostic, Report, Severity, in_file_order
from modelkit.language.document import Document
from modelkit.language.fixes import without
from modelkit.language.modelfile import Layer, Modelfile, Said
from modelkit.language.names import default_name
from modelkit.language.outside import NOTHING, Outside
from modelkit.language.parser import parse
from modelkit.language.rules.ollama import SEVERAL_ADAPTERS
from modelkit.language.rules.syntax import MISSING_FROM
from modelkit.language.source import Source, Span


def compile_source(source: Source, outside: Outside = NOTHING) -> tuple[Modelfile | None, list[Diagnostic]]:
    """One file, parsed and checked: its meaning, or None if anything is an error; all findings, in file order.

    A file whose shape is broken is checked too, so that all its errors come at once; warnings about its meaning wait
    until the shape is whole, since they may be no more than a consequence. Reads nothing but what
    `outside` reads; without that, the texts of files are left out.
    """
    document, found = parse(source)
    report = Report(list(found))
    broken = bool(report.errors)
    modelfile = check(document, report, outside)
    meaning = [d for d in report.found[len(found) :] if d.severity is Severity.ERROR or not broken]
    return modelfile, in_file_order([*found, *meaning])


def check(document: Document, report: Report, outside: Outside = NOTHING) -> Modelfile | None:
    """The document's meaning; None if `report` holds an error, this phase's or an earlier one's. Never raises."""
    context = Context(report, document.source, outside)
    document = with_values(document, outside.arguments, context)
    reader = LayerReader(context)
    layer = reader.read(document.instructions())
    stages = read_stages(document.blocks("STAGE"), context)
    tests = read_tests(document.blocks("TEST"), context)
    find_secrets(document.source, report)
    _judge_base(document, layer, report)
    _judge_adapters((layer, *(stage.layer for stage in stages.values())), context)
    if any(found.severity is Severity.ERROR for found in report.found):
        return None
    source = document.source
    modelfile = Modelfile(
        path=source.name, name=reader.name or Said(default_name(source.name), Span(0, 0)), layer=layer,
        stages=stages, tests=tests, line_starts=source.line_starts, files=context.files,
        arguments={name: outside.arguments[name] for name in reader.arguments if name in outside.arguments},
    )
    _judge_together(Checked.of(modelfile, document, report))
    return None if report.errors else modelfile


def _judge_together(checked: Checked) -> None:
    """What is wrong with a file whose every line is right."""
    for judge in (judge_prompts, judge_running, judge_exposure, judge_tests, judge_overrides, judge_style):
        judge(checked)


def _judge_base(document: Document, layer: Layer, report: Report) -> None:
    """A FROM in a stage alone leaves the other stages without a base; without any, the parser has said so."""
    said_in_stages = [i for i in document.all_instructions() if meant(i) == "FROM"]
    if layer.base is None and said_in_stages:
        report.add(MISSING_FROM, "only a stage names a base model; the file itself must name one too",
                   said_in_stages[0].keyword.span, hint="put a `FROM` at the top; a stage may then say its own")


def _judge_adapters(layers: Iterable[Layer], context: Context) -> None:
    """Of the adapters that would be part of the model itself only one can be."""
    for layer in layers:
        for unused in [said for said in layer.adapters or () if said.value.name is None][:-1]:
            context.report.add(
                SEVERAL_ADAPTERS, "of several `ADAPTER` lines without `AS` only the last counts", unused.span,
                hint="give it a model name of its own: `ADAPTER … AS name`",
                fix=without(context.source, unused.span, "the `ADAPTER` that does not count"))

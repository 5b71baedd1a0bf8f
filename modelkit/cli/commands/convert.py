"""`modelkit convert`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli.terminal import Progress, Terminal, amount
from modelkit.cli.weights import tools_for
from modelkit.failure import Failure
from modelkit.models.forms import Step, make, precision, route
from modelkit.models.store import Store

if TYPE_CHECKING:
    from modelkit.models.weights import Weights


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make another form of a model, kept in the store under its recipe, and put it where it is wanted."""
    output = Path(arguments.output) if arguments.output else None
    if output is not None and output.exists():
        raise Failure("output-exists", f"{output} is there already", "name another path, or remove it first")
    store = Store()
    with terminal.progress() as progress:
        made = (_adapter if arguments.base else _model)(arguments, store, progress)
    path = made.path if output is None else str(_put(made, output))
    terminal.document({"form": made.form, "path": path, "digest": made.digest, "size": made.size,
                       "recipe": made.recipe})
    terminal.data(f"{path}  {made.form}, {amount(made.size)}, {made.digest[:19]}")
    return 0


def _model(arguments: Namespace, store: Store, progress: Progress) -> Weights:
    from modelkit import models

    base = models.acquire(arguments.model, Path.cwd(), store=store, on_progress=progress)
    steps = _route(arguments, base)
    return make(base, steps, tools_for(steps), store, progress)


def _route(arguments: Namespace, base: Weights) -> tuple[Step, ...]:
    from modelkit.language.quantization import OTHER_WORDS, PRECISIONS
    from modelkit.language.quantization import precision as row_of
    from modelkit.models.nearest import nearest

    row = row_of(arguments.quantize) if arguments.quantize else None
    if arguments.quantize and row is None:
        like = OTHER_WORDS.get(arguments.quantize.lower()) or nearest(arguments.quantize, list(PRECISIONS))
        raise Failure("unknown-quantization", f"no quantization is called `{arguments.quantize}`",
                      f"did you mean `{like}`?" if like else None)
    if row is not None and arguments.to == "gguf" and row.form == "safetensors":
        raise Failure("usage", f"a GGUF can't be {row.name}", "write `--to safetensors`, or name a GGUF type")
    imatrix = str(Path(arguments.imatrix).absolute()) if arguments.imatrix else None
    return route(base.form, precision(base), arguments.to, row.name if row else None, imatrix)


def _adapter(arguments: Namespace, store: Store, progress: Progress) -> Weights:
    from modelkit import models
    from modelkit.models.convert import lora
    from modelkit.models.local import adapter_at

    if arguments.quantize or arguments.imatrix:
        raise Failure("usage", "an adapter is not quantized", "leave --quantize and --imatrix out")
    base = models.acquire(arguments.base, Path.cwd(), store=store, on_progress=progress)
    adapter = adapter_at(Path(arguments.model), store)
    if arguments.to == "safetensors":
        return lora.peft_folder(adapter, base, store=store, on_progress=progress)
    if adapter.form == "gguf":
        return adapter
    step = Step("convert")
    tools = tools_for((step,))
    if "converter" not in tools:
        raise Failure("tool-missing", "the converter is not installed", "modelkit tool install converter")
    return lora.gguf_adapter(adapter, base, tools["converter"], store=store, on_progress=progress)


def _put(made: Weights, output: Path) -> Path:
    """The result under a name of the user's: the same file as in the store where the disk allows, and read-only."""
    from modelkit.models.links import link

    source = Path(made.path)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        if source.is_file():
            link(source, output)
            return output
        output.mkdir()
        for file in sorted(one for one in source.iterdir() if one.is_file() and one.name != "manifest.json"):
            link(file, output / file.name)
    except OSError as error:
        raise Failure("output-unwritable", f"{output} can't be written: {(error.strerror or str(error)).lower()}") \
            from None
    return output

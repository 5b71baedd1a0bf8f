"""`modelkit build`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal, amount


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make the weights of stages ahead of time: fetched, converted, quantized, locked."""
    modelfile = project.load(project.find(arguments.file), terminal)
    stages = Stages(modelfile, arguments)
    with terminal.progress() as progress:
        ready = [(stage, stages.ready(stage, progress, engine=False)[0])
                 for stage in arguments.stages or stages.lock.stages()]
    stages.settle(ready, terminal)
    documents = []
    for stage, found in ready:
        weights = found.weights
        assert weights is not None
        steps = [str(step) for step in found.route]
        documents.append({"stage": stage, "reference": found.asked.text, "resolved": found.reference.text,
                          "form": weights.form, "path": weights.path, "digest": weights.digest, "size": weights.size,
                          "steps": steps, "recipe": weights.recipe})
        terminal.data(f"{stage}: {weights.form}, {amount(weights.size)}, {weights.digest[:19]}"
                      + (f" ({'; '.join(steps)})" if steps else ""))
    terminal.document(documents)
    return 0

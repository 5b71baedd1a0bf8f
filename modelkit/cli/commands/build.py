"""`modelkit build`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from modelkit.cli import project
from modelkit.cli.stages import Stages
from modelkit.cli.terminal import Terminal, amount
from modelkit.failure import Failure


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make the weights of stages ahead of time: fetched, converted, quantized, locked. With -o, write a bundle."""
    modelfile = project.load_asked(arguments, terminal)
    stages = Stages(modelfile, arguments)
    if arguments.output:
        return _bundle(stages, arguments, terminal)
    with terminal.progress() as progress:
        ready = [(stage, stages.ready(stage, progress, engine=False)[0])
                 for stage in arguments.stages or stages.lock.stages() if _made_here(stages, stage, terminal)]
    stages.settle(ready, terminal)
    documents = []
    for stage, found in ready:
        weights = found.weights
        assert weights is not None
        steps = [str(step) for step in found.route]
        documents.append({"stage": stage, "reference": found.asked.text, "resolved": found.reference.text,
                          "form": weights.form, "path": weights.path, "digest": weights.digest, "size": weights.size,
                          "steps": steps, "recipe": weights.recipe,
                          "adapters": [{"name": one.wanted.name, "reference": one.asked.text, "form": one.at.form,
                                        "path": one.at.path, "digest": one.at.digest, "size": one.at.size,
                                        "recipe": one.at.recipe} for one in found.adapters if one.at]})
        terminal.data(f"{stage}: {weights.form}, {amount(weights.size)}, {weights.digest[:19]}"
                      + (f" ({'; '.join(steps)})" if steps else ""))
        for one in found.adapters:
            if one.at is not None:
                terminal.data(f"{stage}: adapter {one.wanted.name}, {one.at.form}, {amount(one.at.size)}, "
                              f"{one.at.digest[:19]}")
    terminal.document(documents)
    return 0


def _made_here(stages: Stages, stage: str, terminal: Terminal) -> bool:
    """Machines elsewhere fetch their models themselves: nothing is made for them here."""
    from modelkit.planning.forms import wanted
    from modelkit.platforms import platform_row

    platform = wanted(stages.modelfile, stage).platform
    if platform_row(platform).where != "elsewhere":
        return True
    terminal.note(f"{stage}: platform {platform} fetches its model itself; `modelkit build -s {stage} -o DIR` writes "
                  "what it is given")
    return False


def _bundle(stages: Stages, arguments: Namespace, terminal: Terminal) -> int:
    """What a stage's platform is given, as a folder; the same inputs give the same bytes."""
    from modelkit.cli import remote
    from modelkit.runtime import bundle_folder

    if len(arguments.stages or ()) > 1:
        raise Failure("usage", "a bundle is of one stage", hint="one `build -s STAGE -o DIR` for each")
    stage, folder = (arguments.stages or ["prod"])[0], Path(arguments.output)
    bundle_folder.presume_ours(folder)  # before anything is fetched
    with terminal.progress() as progress:
        made = remote.manifests(stages, stage, progress, terminal)
    project.say_losses(made.plan, terminal)
    index = bundle_folder.write(made, folder, remote.lock_digest(stages.lock.lock, stage))
    terminal.document({**index, "path": str(folder)})
    for path in index["files"]:
        terminal.data(str(folder / path))
    for note in made.notes:
        terminal.note(f"note: {note}")
    return 0

"""llama.cpp itself asked what a stage would take, in a child that loads no weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.failure import Failure
from modelkit.planning.forms import OWN

if TYPE_CHECKING:
    from modelkit.cli.fit.weighing import Scale
    from modelkit.planning.fit.llama_sizes import Sizes
    from modelkit.planning.fit.serving import Serving

_MOST_CELLS = 1 << 22
"""Of a cache that it is asked about: it keeps a list of all cells even where it allocates nothing."""

_KNOWN: dict[tuple[str, str, tuple[str, ...], Serving], Sizes] = {}
"""Of this process: a command weighs a stage several times."""


def asked(scale: Scale, serving: Serving) -> Sizes | None:
    """What it says; None where it is not here, or a GPU would compute: a build for processors knows none.

    What was asked once is kept, whatever the precision of the weights: buffers do not depend on it.
    """
    engine, base = scale.plan.engine, scale.found.base
    if serving.provider != OWN or scale.hardware.devices or engine is None or not engine.command or base is None \
            or base.form != "gguf" or serving.kv_tokens > _MOST_CELLS:
        return None
    from modelkit.models.formats.splits import read_split
    from modelkit.planning.fit.llama_cpp import settled
    from modelkit.runtime.llama_probe import probe

    key = (base.path, base.digest, engine.command, settled(scale.anatomy, serving))
    if key not in _KNOWN:
        try:
            headers = read_split(Path(base.path)).parts
        except Failure:
            return None  # whoever loads it says what is wrong with it
        _KNOWN[key] = probe(engine.command, headers, [key[3]], version=engine.version)[0]
    return _KNOWN[key]

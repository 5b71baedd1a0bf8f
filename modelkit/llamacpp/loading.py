"""From a configuration to what the engine's thread works with: weights, adapters, a context, a scheduler."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelkit.llamacpp import cores
from modelkit.llamacpp.cells import Cells
from modelkit.llamacpp.computing import LlamaError
from modelkit.llamacpp.config import Config
from modelkit.llamacpp.distribution import measured
from modelkit.llamacpp.jobs import Token
from modelkit.llamacpp.pace import Pace
from modelkit.llamacpp.prefixes import Prefixes
from modelkit.llamacpp.room import chat_room, draft_room
from modelkit.llamacpp.scheduler import Scheduler
from modelkit.llamacpp.sequence import Proposer
from modelkit.llamacpp.speculation import Draft, NGram
from modelkit.llamacpp.vocabulary import Vocabulary
from modelkit.llamacpp.weights import load_weights

if TYPE_CHECKING:
    from modelkit.llamacpp.context import Context
    from modelkit.llamacpp.images import Projector
    from modelkit.llamacpp.library import Model


@dataclass(frozen=True)
class Loaded:
    """All that is native, and the scheduler over it. `proposer` makes each new sequence's own, if any guesses;
    `projector` sees images.
    """

    model: Model
    vocabulary: Vocabulary
    context: Context
    cells: Cells
    scheduler: Scheduler
    proposer: Callable[[], Proposer | None]
    projector: Projector | None = None


def load(config: Config, on_progress: Callable[[float], None] | None = None, weights: Model | None = None) -> Loaded:
    """Blocks while it loads; `on_progress` hears 0 to 1. Takes over `weights` that are there already.

    Raises LlamaError for what cannot be served.
    """
    threads = config.threads or cores.usable_cores()
    model = weights or load_weights(config.model, config, on_progress)
    try:
        adapters = {name: model.adapter(Path(path)) for name, path in config.adapters}
        with ThreadPoolExecutor(1) as beside:  # half of a start: llama.cpp clears the cache meanwhile
            reading = beside.submit(Vocabulary, model)
            context = _context(config, model, threads)
            vocabulary = reading.result()
        proposer = _proposer(config, model, vocabulary, threads)
        projector = _projector(config, model, threads)
    except BaseException:
        model.close()
        raise
    cells = Cells(context.tokens)
    prefixes = Prefixes(context.memory, cells, context.sequences, across=config.prefix_caching, whole=model.recurrent)
    pace = Pace(min(config.batch_tokens, context.batch_tokens), config.busy_batch_tokens)
    scheduler = Scheduler(context, prefixes, pace, _scored(vocabulary), ends=vocabulary.ends,
                          context_length=config.context_length, max_concurrency=config.max_concurrency,
                          draft_tokens=config.draft_tokens, adapters=adapters,
                          look=projector.look if projector else None)
    return Loaded(model, vocabulary, context, cells, scheduler, proposer, projector)


def _context(config: Config, model: Model, threads: int) -> Context:
    from modelkit.llamacpp.context import Context

    room = chat_room(config, model.recurrent)
    if room.tokens < config.context_length:
        raise LlamaError(f"an attention cache of {room.tokens} tokens has no room for one conversation of "
                         f"{config.context_length}")
    return Context(model, tokens=room.tokens, sequences=room.sequences, batch=room.batch,
                   physical_batch=room.physical, outputs=room.outputs, threads=threads,
                   threads_batch=config.threads_batch or threads, kv_type=config.kv_cache,
                   flash_attention=config.flash_attention)


def _projector(config: Config, model: Model, threads: int) -> Projector | None:
    if config.projector is None:
        return None
    from modelkit.llamacpp.images import Projector as Eyes

    return Eyes(Path(config.projector), model, threads=config.threads_batch or threads, gpu=config.gpu_layers != 0)


def _proposer(config: Config, model: Model, vocabulary: Vocabulary, threads: int) -> Callable[[], Proposer | None]:
    """Makes each new sequence's proposer."""
    if config.speculative == "off" or model.recurrent:  # such a memory cannot take back a wrong guess
        return lambda: None
    if config.speculative == "ngram":
        return NGram
    from modelkit.llamacpp.context import Context

    if config.draft is None:
        raise LlamaError("guessing with a draft model needs the path of one")
    small = load_weights(config.draft, config)
    room = draft_room(config)
    context = Context(small, tokens=room.tokens, sequences=room.sequences, batch=room.batch,
                      physical_batch=room.physical, outputs=room.outputs, threads=threads, kv_type=config.kv_cache,
                      flash_attention=config.flash_attention)
    return Draft(context, Vocabulary(small), vocabulary).sequence


def _scored(vocabulary: Vocabulary) -> Callable[[Any, int, int, int], Token]:
    def scored(context: Any, index: int, token: int, top: int) -> Token:
        return measured(context.logits(index), token, top, vocabulary.pieces)

    return scored

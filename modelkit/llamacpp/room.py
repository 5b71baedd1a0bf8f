"""How large a context the engine makes of a configuration: said once, for who makes it and for who plans for it."""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.llamacpp.config import Config

SEQUENCES_AT_MOST = 256
"""LLAMA_MAX_SEQ: how many sequences a context can tell apart."""

KEPT = 16
"""Finished sequences whose prefixes are kept at least, beside as many as may run."""

DRAFT_PLACES = 4
"""Sequences that a draft model can follow at once."""

POOLED_SEQUENCES = 64
"""Texts whose vectors are computed in one step, at most."""

SCORED = 128
"""Tokens of prompts in a step whose log-probabilities are wanted: each leaves a row as long as the vocabulary."""


@dataclass(frozen=True)
class Room:
    """`tokens` cells that `sequences` share; `batch` tokens go into one computation, `physical` into one graph.

    `outputs` of them may leave a row of logits, for which llama.cpp keeps room in every graph.
    """

    tokens: int
    sequences: int
    batch: int
    physical: int
    outputs: int


def chat_room(config: Config, recurrent: bool = False) -> Room:
    """Of a model that answers. One with recurrent layers keeps no prefixes: a state is not shared."""
    tokens = config.kv_tokens or config.context_length * config.max_concurrency
    kept = 0 if recurrent else config.max_concurrency + KEPT
    sequences = min(SEQUENCES_AT_MOST, config.max_concurrency + kept)
    batch = max(config.batch_tokens, config.max_concurrency)
    guessed = config.draft_tokens if config.speculative != "off" else 0
    drawn = config.max_concurrency * (1 + guessed)
    return Room(tokens, sequences, batch, batch, min(batch, max(sequences, drawn + SCORED)))


def draft_room(config: Config) -> Room:
    """Of a small model that guesses ahead."""
    places = min(config.max_concurrency, DRAFT_PLACES)
    return Room(places * config.context_length, places, config.batch_tokens, min(config.batch_tokens, 512),
                min(config.batch_tokens, places))


def pooled_room(config: Config, whole: bool = True) -> Room:
    """Of a model that embeds or ranks. `whole`: a text is computed in one piece, for its tokens look ahead."""
    tokens = max(config.context_length, config.batch_tokens)
    return Room(tokens, min(POOLED_SEQUENCES, tokens), tokens, tokens if whole else min(tokens, config.batch_tokens),
                tokens)

"""A model in several GGUF files as one header: conversion does not care where one file ends and the next begins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate

from modelkit.models.digests import digest
from modelkit.models.formats.gguf import Header
from modelkit.models.formats.splits import Split


class _Chain:
    """The files of a model one after the other, read as one."""

    def __init__(self, parts: tuple[Header, ...]) -> None:
        self.name = parts[0].access.name
        self._files = [part.access for part in parts]
        self.begins = [0, *accumulate(part.size for part in parts)]
        self.size = self.begins[-1]

    def read_at(self, offset: int, count: int) -> bytes:
        """No tensor lies in two files, so what is asked for ends where its file does."""
        place = min(bisect_right(self.begins, offset), len(self._files)) - 1
        return self._files[place].read_at(offset - self.begins[place], count)


def whole_header(model: Split) -> Header:
    """The first part's header with the tensors of all parts; its `access` reads all of them."""
    if len(model.parts) == 1:
        return model.first
    chain = _Chain(model.parts)
    tensors = {name: replace(tensor, offset=begin + tensor.offset)
               for part, begin in zip(model.parts, chain.begins, strict=False) for name, tensor in part.tensors.items()}
    return replace(model.first, tensors=tensors, access=chain, size=chain.size)


def is_digest(said: str, model: Split, found: Mapping[str, str]) -> bool:
    """Is `said` the digest of a model whose files have these digests, by path?

    Several files count by their names, or by their paths in the repository that they come from.
    """
    if len(model.paths) == 1:
        return found[str(model.paths[0])] == said
    depth = len(model.paths[0].parts)
    return any(said == digest({"/".join(path.parts[-kept:]): found[str(path)] for path in model.paths})
               for kept in range(1, depth))

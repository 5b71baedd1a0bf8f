"""The anatomy of models of every family: against what llama.cpp allots, and one form against the other."""

from __future__ import annotations

import pytest

from modelkit.models.anatomy import Anatomy, anatomy_of_folder, anatomy_of_header
from tests.unit.models.anatomies import families, folder_of, header_of
from tests.unit.models.make_anatomies import CELLS, SEQUENCES

MIB = 1 << 20
SAID_OTHERWISE = {  # what the official converter changes
    "gemma3n": ("parameters",),  # constants of its own
    "apertus": ("parameters",), "bert": ("parameters",),  # activation's scalars, the pooler are left out
    **dict.fromkeys(("granitehybrid", "mamba", "mamba2"), ("context_length",)),  # 2^20
}


def both(name: str) -> tuple[Anatomy, Anatomy]:
    said = families()[name]
    return (anatomy_of_header([header_of(said["metadata"], said["gguf"])]),
            anatomy_of_folder(folder_of(said["config"], said["tensors"])))


def cache_of(anatomy: Anatomy, *kinds: str) -> list[float]:
    """Cells, layers, MiB of keys and of values of one cache of llama.cpp at its settings."""
    layers = [layer for layer in anatomy.layers if layer.attention in kinds and layer.key_width]
    cells = max((CELLS if not layer.window else -(-min(layer.window * SEQUENCES + 512, CELLS) // 256) * 256
                 for layer in layers), default=0)
    return [cells, len(layers), *(round(2 * cells * sum(widths) / MIB, 2) for widths in (
        [layer.key_width for layer in layers], [layer.value_width for layer in layers]))]


@pytest.mark.parametrize("name", families())
def test_layers_are_those_that_llama_cpp_makes_caches_for(name: str) -> None:
    said, (gguf, _) = families()[name], both(name)
    caches = [cache_of(gguf, "full", "mla"), cache_of(gguf, "sliding", "chunked")]
    assert [one for one in caches if one[1]] == said["kv"]
    states = [(layer.conv_bytes, layer.state_bytes - layer.conv_bytes) for layer in gguf.layers if layer.state_bytes]
    made = [[round(SEQUENCES * sum(part) / MIB, 2) for part in zip(*states, strict=True)]] if states else []
    assert made == said["state"]


@pytest.mark.parametrize("name", families())
def test_both_forms_of_a_model_have_the_same_anatomy(name: str) -> None:
    gguf, folder = both(name)
    assert gguf.layers == folder.layers
    for fact in ("vocabulary", "width", "feed_forward", "heads", "context_length", "tied", "experts", "experts_used",
                 "parameters"):
        if fact not in SAID_OTHERWISE.get(name, ()):
            assert getattr(gguf, fact) == getattr(folder, fact), fact
    assert not gguf.notes and not folder.notes


@pytest.mark.parametrize("name", families())
def test_every_tensor_has_a_role_and_the_same_in_both_forms(name: str) -> None:
    gguf, folder = both(name)
    nameless = {one.name for one in (*gguf.weights, *folder.weights) if one.role == "other"}
    assert nameless <= {"rope_freqs.weight", "pooler.dense.weight", "pooler.dense.bias"}

    def counted(anatomy: Anatomy) -> dict[str, int]:
        return {role: elements for role in sorted({one.role for one in anatomy.weights})
                if (elements := sum(one.elements for one in anatomy.weights
                                    if one.role == role != "other"))}

    if "parameters" not in SAID_OTHERWISE.get(name, ()):
        assert counted(gguf) == counted(folder)


@pytest.mark.parametrize("name", families())
def test_merged_tensors_sum_up_to_the_same(name: str) -> None:
    for found in both(name):
        for role in {one.role for one in found.weights}:
            for layer in {one.layer for one in found.weights}:
                every, merged = ([one for one in part if (one.role, one.layer) == (role, layer)]
                                 for part in (found.weights, found.merged))
                assert sum(one.size for one in merged) == sum(one.size for one in every)
                for matrix in (True, False):
                    assert sum(one.elements for one in merged if (len(one.shape) > 1) == matrix) == \
                        sum(one.elements for one in every if (len(one.shape) > 1) == matrix)
        assert found.bytes_of("embedding", "norm") == sum(one.size for one in found.weights
                                                          if one.role in ("embedding", "norm"))

"""Sizes in another precision: against the dry run of llama.cpp's own quantizer, its published table, and real files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelkit.failure import Failure
from modelkit.language.quantization import PRECISIONS
from modelkit.models.anatomy import Anatomy, anatomy_of_header
from modelkit.models.convert.dry_run import DryRun, dry_runs
from modelkit.models.convert.tool import Tool
from modelkit.models.formats.gguf_reader import read_header
from modelkit.planning.fit.quantized import quantized, typed
from tests.unit.fit.odd_shapes import ODD
from tests.unit.fit.shapes import SHAPES

WORDS = [name for name, row in PRECISIONS.items() if row.form == "gguf"]
QUANTIZER = Tool("quantizer", "0.3.36", sys.executable)
FAMILIES: dict[str, Callable[[Path], Path]] = SHAPES | ODD


@pytest.fixture(scope="module")
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("shape")
    yield request.param, FAMILIES[request.param](folder / "model.gguf")


@pytest.mark.parametrize("imatrix", [False, True], ids=["plain", "imatrix"])
@pytest.mark.parametrize("family", FAMILIES, indirect=True)
def test_every_tensor_as_the_quantizer_itself_would_make_it(family: tuple[str, Path], imatrix: bool) -> None:
    header = read_header(family[1])
    anatomy, said = anatomy_of_header([header]), dry_runs([header], WORDS, QUANTIZER, imatrix=imatrix)
    assert set(said) == set(WORDS)
    for word, dry in said.items():
        ours, theirs = quantized(anatomy, word, imatrix=imatrix), typed(anatomy, dry.types, word)
        assert dry.types.keys() == {one.name for one in anatomy.weights}, (word, dry.refused)
        assert {one.name: one.type for one in ours.weights} == dict(dry.types), word
        assert ours.weight_bytes == theirs.weight_bytes and ours.file_size == theirs.file_size, word

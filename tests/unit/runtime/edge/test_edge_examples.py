"""The examples in the edge's docstrings."""

from __future__ import annotations

import doctest
from types import ModuleType

import pytest

from modelkit.runtime.edge import access, metrics, sockets


@pytest.mark.parametrize("module", [access, metrics, sockets])
def test_examples(module: ModuleType) -> None:
    result = doctest.testmod(module)
    assert result.attempted and not result.failed

"""What the tests of platforms share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module

import pytest

from modelkit.engines import ENGINES
from modelkit.engines.launch import File


@pytest.fixture
def without_contract(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One line in the place of the contract's sources: golden files are about what surrounds them."""
    for engine in ENGINES.values():
        with suppress(ModuleNotFoundError):
            import_module(engine)
    stand_in = [File("python/modelkit/__init__.py", "# the contract's sources\n")]
    patched = [module for name, module in list(sys.modules.items())
               if name.startswith("modelkit.") and hasattr(module, "contract_sources")]
    assert patched, "no module has `contract_sources` any more: golden files would repeat the whole contract"
    for module in patched:
        monkeypatch.setattr(module, "contract_sources", lambda: list(stand_in))
    yield

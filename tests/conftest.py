"""What every test may use: golden files, and the switch that rewrites them.

Hypothesis draws the same examples in each run of the suite, so that a run says something about the change before it.
New ones are looked for by `make fuzz`, which takes the profile `explore`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

Golden = Callable[[Path, str], None]

settings.register_profile("suite", derandomize=True)
settings.register_profile("explore", derandomize=False, print_blob=True)
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite golden files instead of comparing with them")
    parser.addoption("--parity", metavar="FILE", help="write down what the conformance suite saw of each engine")
    parser.addoption("--server", metavar="ENGINE=FOLDER", action="append", default=[],
                     help="an engine for the conformance suite that runs already, from the Modelfile in this folder")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)`: the file says exactly this text; with --update-golden it is made to."""

    def compare(path: Path, text: str) -> None:
        data = text.encode()
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        assert path.is_file(), f"{path} is missing; pytest --update-golden writes it"
        assert data.decode() == path.read_bytes().decode()

    return compare

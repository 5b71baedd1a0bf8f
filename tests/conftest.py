"""What every test may use: golden files, and the switch that rewrites them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Golden = Callable[[Path, str], None]


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

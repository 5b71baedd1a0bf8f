"""`engine`: one process of the dev engine for all tests that do not end it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.live.llamacpp.process import Process, running


@pytest.fixture(scope="session")
def engine() -> Iterator[Process]:
    with running() as process:
        yield process.ready()

"""Markers of live tests that have a make target of their own."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live_ray: needs Ray in an environment made by `modelkit engine install ray`")

"""A machine for tests of `fit`, that nobody has to measure, and without programs that would have to be started."""

from __future__ import annotations

import pytest

from modelkit.planning.fit.hardware import Hardware

HERE = Hardware("this machine", cpus=4, ram=8 << 30, ram_free=6 << 30, cpu_bandwidth=40e9, cpu_flops=6e10,
                source="measured")


def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine is HERE; neither llama.cpp nor its quantizer is asked: there are formulas."""
    monkeypatch.setattr("modelkit.runtime.hardware.here", lambda *_, **__: HERE)
    monkeypatch.setattr("modelkit.cli.fit.llama_asked.asked", lambda *_: None)
    monkeypatch.setattr("modelkit.cli.fit.fitting.asked_quantizer", lambda scale: scale)

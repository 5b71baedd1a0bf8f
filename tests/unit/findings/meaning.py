"""What a file means, for comparing: no places, no origins, and nothing that makes no difference."""

from __future__ import annotations

from typing import Any

from modelkit.language.layers import Layered, effective
from modelkit.language.modelfile import KNOWN_STAGES, Modelfile
from tests.unit.language.laws import meaning

OF_A_BASE = {"PARAMETER", "SYSTEM", "TEMPLATE", "MESSAGE", "LICENSE", "ADAPTER", "DRAFT", "RENDERER", "PARSER"}


def meant(modelfile: Modelfile) -> dict[str, Any]:
    """Each stage's settings in the end, and what there is beside stages."""
    said = {stage: _stage(modelfile, stage) for stage in (*KNOWN_STAGES, *modelfile.stages)}
    tests = [meaning(test) for test in modelfile.tests]
    for test in tests:
        test["expectations"] = _once(test["expectations"])
    return {**said, "NAME": modelfile.name.value, "TEST": tests}


def _stage(modelfile: Modelfile, stage: str) -> dict[str, Any]:
    settings = effective(modelfile, stage)
    said = {name: _plain(getattr(settings, name)) for name in settings.__slots__}
    for name in ("flags", "expectations", "policies", "stop", "adapters"):
        said[name] = _once(said[name] or [])
    alone = [one for one in said["adapters"] if one["name"] is None]  # part of the model itself: the last one counts
    said["adapters"] = [one for one in said["adapters"] if one not in alone[:-1]]
    said["unset"] = [one for one in said["unset"] if one["instruction"] in OF_A_BASE]  # no base has the others
    return said


def _plain(value: Any) -> Any:
    match value:
        case Layered():
            return meaning(value.value)
        case frozenset():
            return [meaning(one) for one in sorted(value, key=repr)]
        case tuple():
            return [_plain(one) for one in value]
        case dict():
            return {name: _plain(one) for name, one in value.items()}
    return value


def _once(values: list[Any]) -> list[Any]:
    return [value for index, value in enumerate(values) if value not in values[:index]]

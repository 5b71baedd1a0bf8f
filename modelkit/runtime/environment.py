"""What an engine may see of a person's environment."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PASSED = re.compile(r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|XDG_CACHE_HOME"
                     r"|(CUDA|NVIDIA|HIP|ROCR|ROCM|HSA)_\w+")


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Where programs and devices are; no secret, no PYTHONPATH."""
    return {name: value for name, value in environment.items() if _PASSED.fullmatch(name)}

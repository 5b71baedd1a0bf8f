"""One effective flag or environment variable of an engine, and why it has its value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelkit.planning.plan import Origin


@dataclass(frozen=True)
class Word:
    """`flag` is an engine's flag (`--max-model-len`), an environment variable (`OMP_NUM_THREADS`), or "" for the model
    that stands alone. `value` None is a bare flag, a tuple several words after one flag.

    `setting` is the language's name of what it comes from, "" where it comes from none.
    """

    flag: str
    value: str | tuple[str, ...] | None
    origin: Origin
    reason: str
    setting: str = ""

    @property
    def is_variable(self) -> bool:
        return bool(self.flag) and not self.flag.startswith("-")


def argv(words: Iterable[Word]) -> tuple[str, ...]:
    """The flags among `words`, as a command line has them."""
    said: list[str] = []
    for word in words:
        if word.is_variable:
            continue
        if word.flag:
            said.append(word.flag)
        if word.value is not None:
            said += word.value if isinstance(word.value, tuple) else (word.value,)
    return tuple(said)


def variables(words: Iterable[Word]) -> dict[str, str]:
    """The environment variables among `words`."""
    return {word.flag: str(word.value) for word in words if word.is_variable}

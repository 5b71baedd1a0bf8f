"""What a supervisor is started with."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelkit.runtime.timing import Timing
from modelkit.runtime.wire import Message


@dataclass(frozen=True)
class Settings:
    """It comes over stdin: keys as hashes, and never on a command line."""

    modelfiles: tuple[str, ...]
    host: str
    port: int
    key_hashes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    timing: Timing = field(default_factory=Timing)

    def as_json(self) -> Message:
        return {"modelfiles": list(self.modelfiles), "host": self.host, "port": self.port, "hosts": list(self.hosts),
                "key_hashes": list(self.key_hashes), "timing": self.timing.as_json()}

    @classmethod
    def from_json(cls, value: Message) -> Settings:
        return cls(tuple(value["modelfiles"]), value["host"], value["port"], tuple(value["key_hashes"]),
                   tuple(value["hosts"]), Timing.from_json(value["timing"]))

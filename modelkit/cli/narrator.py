"""What a supervisor does, told to people."""

from __future__ import annotations

from typing import Any

from modelkit.cli.terminal import Terminal


class Narrator:
    """Says what the supervisor does, one line a step."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal, self._last = terminal, ""

    def __call__(self, event: dict[str, Any]) -> None:
        text = ""
        if event["event"] == "phase":
            text = f"{event['stage']}: {event['phase']}"
            if (failure := event.get("failure")) is not None:
                text += f": {failure['message']}"
        elif event["event"] == "replica":
            who = f"replica {event['replica']}" if event["replica"] else "balancer"
            text = f"{event['stage']}: {who} {event['phase']}"
            if (failure := event.get("failure")) is not None:
                text += f": {failure['message']}"
        elif event["event"] == "routed":
            text = f"{event['stage']}: has the address"
        elif event["event"] == "waiting":
            text = event["reason"]
        if text and text != self._last:
            self._terminal.note(text)
            self._last = text

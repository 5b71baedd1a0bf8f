"""The document of changes: `modelkit.changes/1`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, computed_field

from modelkit.planning.difference import Kind
from modelkit.planning.plan import Frozen

SCHEMA: Literal["modelkit.changes/1"] = "modelkit.changes/1"

Verb = Literal["up", "down", "promote"]
Action = Literal["create", "update", "replace", "delete"]
Operation = Literal["fetch", "make", "write_lock", "start_engine", "probe", "switch", "keep_warm", "drain",
                    "stop_engine", "add_engines", "remove_engines", "open_address", "close_address", "write_files",
                    "apply", "wait", "take_away"]

SYMBOLS: dict[Action, str] = {"create": "+", "update": "~", "replace": "-/+", "delete": "-"}


class Change(Frozen):
    """One attribute that would be another, and what that means for clients.

    `path` is the setting's name, or what else decides what is served (`engine.version`, `weights.digest` …);
    `resource` is what has it: the `engine`, or the `address`.
    """

    resource: Literal["engine", "address"]
    path: str
    before: Any
    after: Any
    effect: Kind
    reason: str


class Op(Frozen):
    """One step. It begins when those of `after` have ended."""

    id: int
    op: Operation
    resource: str
    cause: str
    after: tuple[int, ...] = ()


class Resource(Frozen):
    """Something that would be made, changed, replaced or taken away."""

    name: str
    action: Action
    cause: str

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.action]


class Drifted(Frozen):
    """Something that runs otherwise than it was started for: changed outside of modelkit."""

    path: str
    planned: Any
    found: Any


class State(Frozen):
    """One version of a stage, by digest.

    `ir` is what it means wherever it runs (None where nobody knows any more), `bundle` what exactly is started (None
    while something of it is not on this machine).
    """

    stage: str
    model: str
    engine: str
    ir: str | None
    bundle: str | None
    replicas: int = 1
    lock: str | None = None
    generation: int | None = None  # the supervisor's number of it; None for what does not run


class Summary(Frozen):
    """How many resources there are of each action."""

    create: int
    update: int
    replace: int
    delete: int
    drifted: int


class Changes(Frozen):
    """What a verb would do to one stage. No operation: nothing to do.

    `complete` says whether all that decides is known here, `refused` why the verb would not begin.
    """

    schema_: Literal["modelkit.changes/1"] = Field(default=SCHEMA, alias="schema")
    verb: Verb
    model: str
    stage: str
    platform: str
    complete: bool
    refused: str | None = None
    base: State | None
    target: State | None
    resources: tuple[Resource, ...] = ()
    ops: tuple[Op, ...] = ()
    changes: tuple[Change, ...] = ()
    drift: tuple[Drifted, ...] = ()
    notes: tuple[str, ...] = ()

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def summary(self) -> Summary:
        def count(action: Action) -> int:
            return sum(one.action == action for one in self.resources)

        return Summary(create=count("create"), update=count("update"), replace=count("replace"),
                       delete=count("delete"), drifted=len(self.drift))

    @property
    def empty(self) -> bool:
        """Nothing would be done."""
        return not self.ops

    def as_json(self) -> dict[str, Any]:
        """The document."""
        return self.model_dump(mode="json", by_alias=True)

    @property
    def line(self) -> str:
        """One line that says it all."""
        said = self.summary
        if self.empty and not said.drifted:
            return f"`{self.verb}` would be refused." if self.refused else "Nothing to do."
        counts = ((said.replace, "to replace"), (said.update, "to change"), (said.create, "to create"),
                  (said.delete, "to remove"), (said.drifted, "drifted"))
        return "Plan: " + ", ".join(f"{count} {what}" for count, what in counts if count) + "."

"""What a command would change: one structure for `plan`, `up`, `down` and `promote`, for people and for programs. Pure.

What runs (`State`) and what is wanted (`State`) come in; the operations, their causes, what each difference means for
clients, and what was changed behind modelkit's back come out.
"""

from modelkit.release.changes.attributes import attributes
from modelkit.release.changes.elsewhere import bring_up_elsewhere, take_down_elsewhere
from modelkit.release.changes.local import Mode, Side, bring_up, take_down
from modelkit.release.changes.stale import presume_fresh
from modelkit.release.changes.types import SCHEMA, Change, Changes, Drifted, Op, Resource, State, Summary

__all__ = ["SCHEMA", "Change", "Changes", "Drifted", "Mode", "Op", "Resource", "Side", "State", "Summary",
           "attributes", "bring_up", "bring_up_elsewhere", "presume_fresh", "take_down", "take_down_elsewhere"]

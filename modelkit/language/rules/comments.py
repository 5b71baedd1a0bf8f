"""What the comments that speak to `check` get wrong."""

from __future__ import annotations

from modelkit.language.rules.family import Family

COMMENTS = Family("comments", "The comments that tell `check` what to leave out.")

UNUSED_IGNORE = COMMENTS.warning(
    "unused-ignore",
    "An ignore comment leaves nothing out.",
    why="What it was written for is gone, or it stands in the wrong place. It would hide the same mistake if that "
    "came back.",
    help="Remove it, or put it right above the instruction or block that it is about.",
)
UNKNOWN_RULE = COMMENTS.warning(
    "unknown-rule",
    "An ignore comment names a rule that does not exist.",
    why="It leaves nothing out.",
    help="Write the name that stands in brackets in the finding, such as `mutable-reference`.",
)
IGNORE_WITHOUT_REASON = COMMENTS.warning(
    "ignore-without-reason",
    "An ignore comment does not say why.",
    why="Whoever reads it next cannot tell whether it still holds.",
    help="Write the reason behind the bracket, in a few words.",
)
BAD_IGNORE = COMMENTS.warning(
    "bad-ignore",
    "An ignore comment cannot be read, or asks for what cannot be.",
    why="It names its rules in brackets: one that left out everything would leave out the next mistake too. An error "
    "cannot be left out: what it is about has no meaning that anything could be done with.",
    help="Write `# modelkit: ignore[rule] reason` on a line of its own; `ignore-file` in place of `ignore` is for the "
    "whole file. Mend an error.",
)

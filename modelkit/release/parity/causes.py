"""Why two prompts of one conversation differ: the likely cause by name, and what mends it.

A cause is read off the two prompts alone, so that it is the same whether engines, files or strangers' servers gave
them; what one conversation cannot tell, the whole set does (`settled`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from modelkit.release.parity.conversations import Conversation
from modelkit.release.parity.rendering import Rendering, is_special
from modelkit.release.parity.texts import text_cause

Side = Literal["left", "right"]
_OTHER: Mapping[Side, Side] = {"left": "right", "right": "left"}


class Row(NamedTuple):
    """What a kind of difference is called, and what mends it. `{side}` is the stage at which it shows."""

    title: str
    fix: str


CAUSES: Mapping[str, Row] = {
    "bos-missing": Row("the prompt of {side} has no beginning-of-sequence token (BOS)",
                       "write {{{{ bos_token }}}} at the start of its template, or give both stages one `TEMPLATE`"),
    "bos-doubled": Row("the prompt of {side} begins with two BOS tokens",
                       "the template writes BOS and its tokenizer adds another: take one of them out"),
    "eos-added": Row("the prompt of {side} ends with an end token",
                     "its tokenizer adds it: serve the model with `add_eos_token` false"),
    "vocabulary": Row("the two have different tokenizers", "the weights of one stage are of another model: say one "
                      "`FROM`, and look at `modelkit diff`"),
    "splitting": Row("the two tokenizers cut the same text differently",
                     "a conversion lost the pre-tokenizer or merges: convert the weights again from one base"),
    "normalization": Row("one tokenizer changes the text before it is cut (Unicode form, case)",
                         "take the normalizer of one base for both: convert the weights again"),
    "special-token": Row("a special token differs", "both stages need the same special tokens: "
                         "look at tokenizer_config.json and the GGUF's `tokenizer.ggml` metadata"),
    "generation-prompt": Row("only one prompt begins the assistant's answer",
                             "the template of the other must honour `add_generation_prompt`: give both one `TEMPLATE`"),
    "thinking": Row("thinking is switched differently", "`SERVE thinking` must reach both stages, and both templates "
                    "must read `enable_thinking`"),
    "reasoning": Row("the reasoning of earlier turns is kept by one template only",
                     "give both stages one `TEMPLATE`"),
    "tools": Row("tools, their calls or their results are written differently",
                 "give both stages one `TEMPLATE` that writes tools, and the same `SERVE tool_parser`"),
    "tool-json": Row("the JSON of tools is spelled differently (blanks, order of keys or escapes)",
                     "the template must write it with `tojson`, whose spelling both engines share"),
    "date": Row("the template writes a date, and the two days differ",
                "take `strftime_now` out of the template, or say the date as a template variable"),
    "system-prompt": Row("the default system prompt differs",
                         "say one `SYSTEM` for both stages, outside of the STAGE blocks: it takes the place of the "
                         "template's own"),
    "preamble": Row("what stands before the conversation differs",
                    "`MESSAGE` examples and the template's own preamble must be those of both stages"),
    "parts": Row("contents in several parts are joined differently", "let clients send contents as one text"),
    "trimmed": Row("blanks at the ends of messages are trimmed on one side",
                   "take `trim` out of the template, or write it in both: give both stages one `TEMPLATE`"),
    "newline": Row("newlines or blanks of the template differ", "`trim_blocks`, `lstrip_blocks` or a newline at the "
                   "template's end: give both stages one `TEMPLATE`"),
    "left-out": Row("one prompt lacks a message of the conversation",
                    "the other template drops a role, or the prompt was cut to its context length"),
    "refused": Row("{side} refuses the conversation", "its template or its engine says why; "
                   "give both stages one `TEMPLATE`"),
    "template": Row("the two use different chat templates",
                    "give both stages one `TEMPLATE`; `modelkit render --template -s STAGE` prints each"),
}
"""Every kind that a cause can have."""


@dataclass(frozen=True)
class Cause:
    """A likely cause. `side` is where it shows, where that can be said; `detail` what exactly was seen."""

    kind: str
    side: Side | None = None
    detail: str = ""

    def title(self, left: str, right: str) -> str:
        """One line, the sides by their names."""
        side = {"left": left, "right": right, None: "one side"}[self.side]
        return CAUSES[self.kind].title.format(side=side)

    @property
    def fix(self) -> str:
        return CAUSES[self.kind].fix.format()


def causes_of(said: Conversation, left: Rendering, right: Rendering) -> tuple[Cause, ...]:
    """What explains that these two differ, from this conversation alone; the weightiest last to be mended comes last.
    """
    if left.refused is not None or right.refused is not None:
        side: Side = "left" if left.refused is not None else "right"
        return (Cause("refused", side, left.refused or right.refused or ""),)
    found: list[Cause] = []
    left, right = _begun(left, right, found)
    left, right = _ended(left, right, found)
    if left.ids == right.ids:
        return tuple(found)
    one, other = left.written, right.written
    rest = _of_tokens(left, right) if one == other else None
    if rest is None:
        kind, detail = text_cause(said, one, other)
        rest = Cause(kind, _longer(one, other) if kind == "left-out" else None, detail)
        if kind == "template" and (of_tokens := _of_tokens(left, right)) is not None:
            rest = of_tokens if of_tokens.kind == "vocabulary" else rest
    return (*found, rest)


def _longer(one: str, other: str) -> Side:
    return "left" if len(one) < len(other) else "right"


def _begun(left: Rendering, right: Rendering, found: list[Cause]) -> tuple[Rendering, Rendering]:
    """Both without the BOS, or the two, that one has more."""
    sides: tuple[tuple[Side, Rendering, Rendering], ...] = (("left", left, right), ("right", right, left))
    for side, more, fewer in sides:
        if not more.ids or not is_special(more.spelled(0)):
            continue
        for extra in (1, 2):
            shared = _shared(more.ids[extra:], fewer.ids)
            if len(set(more.ids[:extra])) > 1 or shared <= _shared(more.ids, fewer.ids) \
                    or shared < min(3, len(fewer.ids)):
                continue
            token = f"{more.spelled(0)!r} (token {more.ids[0]})"
            doubled = extra > 1 or fewer.ids[:1] == more.ids[:1]
            found.append(Cause("bos-doubled", side, token) if doubled else Cause("bos-missing", _OTHER[side], token))
            cut = more
            for _ in range(extra):
                cut = _without(cut, slice(1, None))
            return (cut, fewer) if side == "left" else (fewer, cut)
    return left, right


def _ended(left: Rendering, right: Rendering, found: list[Cause]) -> tuple[Rendering, Rendering]:
    """Both without the end token that one has more."""
    sides: tuple[tuple[Side, Rendering, Rendering], ...] = (("left", left, right), ("right", right, left))
    for side, more, fewer in sides:
        if not more.ids or more.ids[:-1] != fewer.ids:
            continue
        token = more.spelled(len(more.ids) - 1)
        if is_special(token) and not any(role in token for role in ("assistant", "model", "ASSISTANT")):
            found.append(Cause("eos-added", side, repr(token)))
            cut = _without(more, slice(None, -1))
            return (cut, fewer) if side == "left" else (fewer, cut)
    return left, right


def _without(said: Rendering, kept: slice) -> Rendering:
    pieces = said.pieces[kept] if said.pieces is not None else None
    prompt = said.prompt
    if prompt is not None and said.pieces is not None:  # what the token was written as, where the text has it
        gone = said.pieces[0 if kept.start else -1]
        prompt = prompt.removeprefix(gone) if kept.start else prompt.removesuffix(gone)
    return replace(said, ids=said.ids[kept], pieces=pieces, prompt=prompt)


def _of_tokens(left: Rendering, right: Rendering) -> Cause | None:
    """Why one text has two lists of tokens; None where the tokens do not say."""
    spelled, others = left.text(left.ids), right.text(right.ids)
    if left.pieces is not None and right.pieces is not None:
        a, b = left.pieces, right.pieces
    else:  # `Ċ` and a newline are one token, written and spelled
        a, b = (tuple(side.text([one]) for one in side.ids) for side in (left, right))
    known, seen = dict(zip(left.ids, a, strict=True)), dict(zip(right.ids, b, strict=True))
    if a == b:
        moved = {piece: (one, other) for piece, one, other in zip(a, left.ids, right.ids, strict=True) if one != other}
        if all(is_special(piece) for piece in moved):
            piece, (one, other) = next(iter(moved.items()))
            return Cause("special-token", None, f"{piece!r} is token {one} on one side and {other} on the other")
        return Cause("vocabulary", None, f"the same pieces have other numbers: {next(iter(moved))!r} is "
                     f"{moved[next(iter(moved))][0]} and {moved[next(iter(moved))][1]}")
    conflicts = [one for one in known.keys() & seen.keys()
                 if known[one] != seen[one] and not (is_special(known[one]) or is_special(seen[one]))]
    if conflicts:
        one = min(conflicts)
        return Cause("vocabulary", None, f"token {one} is {known[one]!r} on one side and {seen[one]!r} on the other")
    if (moved_piece := _renumbered(known, seen)) is not None:
        return Cause("vocabulary", None, "{!r} is token {} on one side and {} on the other".format(*moved_piece))
    if left.prompt is not None and left.prompt == right.prompt and spelled != others:
        return Cause("normalization", None, "one text is spelled differently when its tokens are read back")
    pairs: tuple[tuple[Side, tuple[str, ...], tuple[str, ...]], ...] = (("right", a, b), ("left", b, a))
    for side, has, lacks in pairs:
        if only := [piece for piece in dict.fromkeys(has) if is_special(piece) and piece and piece not in lacks]:
            return Cause("special-token", side, f"{only[0]!r} is one token on one side and plain text on the other")
    return Cause("splitting") if left.written == right.written else None


def _renumbered(known: Mapping[int, str], seen: Mapping[int, str]) -> tuple[str, int, int] | None:
    """A piece that both have under different numbers, where most that both have are so."""
    one, other = ({piece: number for number, piece in side.items() if not is_special(piece)} for side in (known, seen))
    both = one.keys() & other.keys()
    moved = sorted(piece for piece in both if one[piece] != other[piece])
    return (moved[0], one[moved[0]], other[moved[0]]) if 2 * len(moved) > len(both) else None


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def settled(found: Sequence[tuple[Conversation, tuple[Cause, ...]]], equal: Iterable[Conversation]
            ) -> list[tuple[Cause, ...]]:
    """The causes of each difference in the light of all: what shows everywhere is not the fault of one message.

    `equal` are the conversations that did not differ.
    """
    fine = frozenset(frozenset(one.features) for one in equal)
    last = Counter(causes[-1].kind for _, causes in found if causes)
    count = sum(last.values())
    folded: dict[str, Cause] = {}

    def fold(into: Cause, *kinds: str) -> None:
        for kind in kinds:
            folded.setdefault(kind, into)

    vocabulary = next((c[-1] for _, c in found if c and c[-1].kind == "vocabulary"), None)
    if vocabulary is not None:
        fold(vocabulary, *(kind for kind in last if kind != "refused"))
    elif last["template"]:
        lone = _feature_of([said for said, causes in found if causes[-1].kind in _OF_TEMPLATES], fine)
        if lone is not None:
            fold(Cause(lone), *_OF_TEMPLATES, *(("refused",) if lone == "tools" else ()))
        elif last["template"] >= 0.3 * count or last["preamble"]:
            fold(Cause("template"), *(kind for kind in last if kind not in ("refused",)))
    if 2 * last["newline"] > count:
        fold(Cause("newline", None, next(c[-1].detail for _, c in found if c[-1].kind == "newline")),
             "parts", "trimmed", "tool-json")
    if last["preamble"]:
        fold(Cause("preamble"), "system-prompt")
    if last["normalization"] and last["splitting"]:
        fold(Cause("normalization"), "splitting")
    return [(*causes[:-1], folded.get(causes[-1].kind, causes[-1])) for _, causes in found]


_OF_TEMPLATES = ("template", "tools", "left-out", "newline", "preamble", "system-prompt")
_FEATURES = {"thinking": "thinking", "reasoning": "reasoning", "no generation prompt": "generation-prompt",
             "tools": "tools", "parts": "parts"}


def _feature_of(differing: Sequence[Conversation], fine: frozenset[frozenset[str]]) -> str | None:
    """The cause that goes with a feature: all that differ have it, and none that is equal has."""
    for feature, kind in _FEATURES.items():
        if all(feature in one.features for one in differing) and any(feature not in one for one in fine):
            return kind
    return None

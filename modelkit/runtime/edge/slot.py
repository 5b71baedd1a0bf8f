"""One model's place at the address: which engine answers for it, or why none does, and who waits for one to wake."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote_to_bytes

from modelkit.runtime.edge.division import Part, who
from modelkit.runtime.edge.replies import Reply, json_reply, unavailable
from modelkit.runtime.edge.request import VERSION, Request

if TYPE_CHECKING:
    from modelkit.contract.errors import ContractError
    from modelkit.runtime.edge.exchange import Exchange
    from modelkit.runtime.edge.upstream import Backend

_MODELS = b"/v1/models/"
_SOON = 2  # seconds, to come again after


class Sides(NamedTuple):
    """Who answers a request, if anybody does, and who gets a copy of it."""

    answers: Backend | None
    copies: Backend | None = None


class Slot:
    """At most one backend, for the models of `cards` (as `/v1/models` shows them, by name).

    Beside it a `candidate` may answer a part of the conversations, and copies of a part may go to `mirrored`. With
    `wake` there is none, but there will be: requests wait, and each of them has `wake` called.
    """

    def __init__(self) -> None:
        self.routed: Backend | None = None
        self.cards: Mapping[str, Mapping[str, Any]] = {}
        self.candidate: Part | None = None
        self.mirrored: Part | None = None
        self.rejecting: str | None = None
        self.wake: Callable[[], None] | None = None
        self.waiting: dict[Exchange, None] = {}

    @property
    def serving(self) -> Backend | None:
        return self.routed if self.rejecting is None else None

    @property
    def backends(self) -> Iterator[Backend]:
        """Where new requests may go."""
        if self.routed is not None:
            yield self.routed
        for part in (self.candidate, self.mirrored):
            if part is not None:
                yield part.backend

    @property
    def divided(self) -> bool:
        """Whether a request must be looked at, to know where it goes."""
        return self.candidate is not None or self.mirrored is not None

    def sides(self, request: Request, body: bytes, peer: str) -> Sides:
        """Where one request goes, whose body is here."""
        stable, candidate = self.serving, self.candidate
        if not self.divided or self.rejecting is not None:
            return Sides(stable)
        said = request.fields.get(VERSION, b"").strip().lower()
        if candidate is not None and said in (b"candidate", candidate.version):
            return Sides(candidate.backend)
        if request.method != b"POST":
            return Sides(stable)
        whose = who(request, body, peer)
        named = said == b"stable" or (stable is not None and said == stable.upstream.version.encode())
        if candidate is not None and not named and candidate.takes(whose):
            return Sides(candidate.backend)
        mirrored = self.mirrored
        return Sides(stable, mirrored.backend if stable is not None and mirrored and mirrored.takes(whose) else None)

    def label(self) -> None:
        """Let answers say on which side of a split they were made."""
        if self.routed is not None:
            self.routed.label(b"stable" if self.candidate is not None else None)
        if self.candidate is not None:
            self.candidate.backend.label(b"candidate")

    @property
    def available(self) -> bool:
        """Whether a request will be answered, now or after a while."""
        return self.rejecting is None and (self.routed is not None or self.wake is not None)

    def park(self, exchange: Exchange) -> None:
        """Let it wait until there is a backend."""
        assert self.wake is not None
        exchange.slot, self.waiting[exchange] = self, None
        self.wake()

    def release(self) -> list[Exchange]:
        """Those that wait, and wait no more."""
        released, self.waiting = list(self.waiting), {}
        for exchange in released:
            exchange.slot = None
        return released


def cards_of(profile: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The models of a contract's profile, as `/v1/models` shows them."""
    from modelkit.contract.middleware import card
    from modelkit.contract.profile import Profile

    known = Profile.from_json(dict(profile))
    return {name: card(known, name) for name in known.models}


def listed(slots: Iterable[Slot], path: bytes, *, one: bool) -> Reply:
    """The edge's own answer to `/v1/models`, or to `/v1/models/{id}`."""
    cards = {name: card for slot in slots for name, card in slot.cards.items()}
    if not one:
        return Reply(200, json.dumps({"object": "list", "data": list(cards.values())}).encode())
    if not cards:
        return unavailable("the engine is not ready yet", _SOON)
    name = unquote_to_bytes(path.removeprefix(_MODELS)).decode("utf-8", "replace")
    return Reply(200, json.dumps(cards[name]).encode()) if name in cards else refused(_unknown(name, cards))


def asked_for(body: bytes, slots: Collection[Slot]) -> Slot | Reply:
    """The slot of the model that a request's body names, else what the client is told, in the contract's words."""
    from modelkit.contract import body as json_body
    from modelkit.contract.errors import ContractError, missing, wrong_type

    by_name = {name: slot for slot in slots for name in slot.cards}
    try:
        said = json_body.read(body)
        name = said.get("model")
        if name is None:
            raise missing("model")
        if not isinstance(name, str):
            raise wrong_type("model", "a string", name)
        if name not in by_name:
            if (unnamed := next((slot for slot in slots if not slot.cards), None)) is not None:
                return unnamed  # nothing has been started there yet: it may be called so
            raise _unknown(name, by_name)
        return by_name[name]
    except ContractError as error:
        return refused(error)


def refused(error: ContractError) -> Reply:
    return Reply(error.status, error.body(), reason=error.code)


def ready_reply(slots: Iterable[Slot]) -> Reply:
    """What /readyz says when every model will be answered."""
    found = list(slots)
    if len(found) == 1 and (backend := found[0].routed) is not None:
        return json_reply({"status": "ready", **backend.about})
    return json_reply({"status": "ready", "models": ", ".join(name for slot in found for name in slot.cards)})


def _unknown(name: str, names: Iterable[str]) -> ContractError:
    from modelkit.contract.profile import Profile
    from modelkit.contract.request import no_such_model

    first, *others = names
    return no_such_model(name, Profile(first, "", 0, adapters=tuple(others)))

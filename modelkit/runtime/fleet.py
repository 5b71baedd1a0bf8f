"""The generations of one Modelfile: exactly one serves, others start beside it or drain behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from modelkit.failure import Failure
from modelkit.runtime.control import Ask
from modelkit.runtime.generation import Generation
from modelkit.runtime.kept import Kept, Phase
from modelkit.runtime.order import Order, phase_event, process_event
from modelkit.runtime.shares import Kind, Shares
from modelkit.runtime.warm import Warm
from modelkit.runtime.wire import Message

if TYPE_CHECKING:
    from modelkit.platforms.bundle import Bundle
    from modelkit.runtime.gate import SlotGate

Say = Callable[[Message], None]


class Fleet:
    """Owns every generation of one Modelfile in a run. It lives on one loop, and one change is made at a time.

    `numbers` are the run's: no two generations have the same. `drain` is for requests in flight on a candidate whose
    client went away.
    """

    def __init__(self, gate: SlotGate, make: Callable[[Fleet, int, Bundle, Mapping[str, str]], Generation],
                 observe: Say, numbers: Iterator[int], drain: float) -> None:
        self.generations: dict[int, Generation] = {}
        self.routed: Generation | None = None
        self.closing = False
        self._gate, self._make, self._observe = gate, make, observe
        self._numbers, self._drain = numbers, drain
        self._changing = asyncio.Lock()
        self._orders: dict[tuple[str, int, bool, bool], Order] = {}
        self._background: set[asyncio.Task[Any]] = set()
        self._listeners: dict[int, Say] = {}
        self._waking: asyncio.Task[Any] | None = None
        self.shares = Shares({"split": gate.split, "mirror": gate.mirror}, observe)
        self.warm = Warm(lambda generation, drain: None if self.closing else self._retire_later(generation, drain))

    @property
    def idle(self) -> bool:
        return not self.generations and not self._orders

    async def apply(self, ask: Ask, bundle: Bundle, environment: Mapping[str, str], *, allow_switch: bool,
                    keep: bool, drain: float, restoring: bool = False) -> Message:
        """Make this bundle the one that serves. Equal and ready: nothing happens. Under way: wait with the others.

        `restoring`: whatever serves stays.
        """
        self._presume_open()
        wanted = Order(bundle, allow_switch=allow_switch, drain=drain, restoring=restoring)
        joined = wanted.key in self._orders
        order = self._orders.setdefault(wanted.key, wanted)
        if not joined:
            order.task = self._later(self._carry_out(order, environment))
            order.task.add_done_callback(lambda _: self._forget(order))
        order.join(ask, keep)
        await _either(order.task, ask.gone)
        order.asks.remove(ask)
        if not order.task.done():
            if not (order.asks or order.kept or order.decided):
                self._forget(order)  # before it has ended: the next who wants the same must not join what is dying
                order.task.cancel()
            raise asyncio.CancelledError
        result = order.task.result()
        return result | {"outcome": "joined"} if joined and result["outcome"] != "unchanged" else result

    async def start(self, ask: Ask, bundle: Bundle, environment: Mapping[str, str]) -> Message:
        """Start a candidate beside what serves. It is stopped when who asked goes away before `switch`."""
        self._presume_open()
        async with self._changing:
            starting = self._later(self._begin(bundle, environment, ask.say))
            await _either(starting, ask.gone)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})  # nobody else starts before its memory is free
                raise asyncio.CancelledError
            candidate = starting.result()
        ask.gone.add_done_callback(lambda _: self._abandoned(candidate))
        return self._about(candidate, "started")

    async def switch(self, number: int, drain: float, say: Say, keep_warm: float = 0.0) -> Message:
        """Give the address to a ready generation; what served before is drained and stopped.

        With `keep_warm` it stays ready for so many seconds, without new requests: to switch back takes no start.
        """
        self._presume_open()
        # Back to the warm one nobody waits: not for a start, nor for what drains.
        at_once = self.warm.generation is not None and self.warm.generation.id == number
        async with contextlib.nullcontext() if at_once else self._changing:
            candidate = self._known(number)
            if candidate is self.routed:
                return self._about(candidate, "unchanged")
            self._presume_ready(candidate)
            work = self._later(self._hand_over(candidate, drain, say, keep_warm))
            # From here on it goes to its end, whether anybody waits or not.
            return await asyncio.shield(work)

    async def share(self, kind: Kind, ask: Ask, number: int, part: float | None) -> Message:
        """Give a candidate its part (0 to 1) of the conversations, or of copies of them; None takes it back.

        It ends by itself when the candidate is not ready any more, who asked goes away, or the address changes hands.
        """
        self._presume_open()
        async with self._changing:
            candidate = self._known(number)
            if part is None:
                if kind in self.shares.of(candidate):
                    self.shares.end(kind, "asked to")
                return self._about(candidate, "ended")
            if candidate is self.routed or self.routed is None:
                alone = f"generation {number} serves" if self.routed else "nothing serves"
                raise Failure("nothing-beside", f"{alone}, so that there is nothing to share",
                              "a share goes to a candidate beside what serves")
            self._presume_ready(candidate)
            self._presume_same_models(candidate, self.routed)
            self.shares.set(kind, candidate, part, ask)
            return self._about(candidate, kind)

    async def stop(self, ask: Ask, number: int, drain: float, *, hold: bool = False) -> Message:
        """Stop one generation; when it is the one that serves, requests are refused from now on.

        With `hold` they wait until there is another one, or who asked goes away.
        """
        generation = self._known(number)
        if generation is self.routed:
            self.routed = None
            self.shares.clear("what served was stopped")
            if hold:
                self._gate.sleep(lambda: None)
                ask.gone.add_done_callback(lambda _: self._no_more_hold())
            else:
                self._gate.shut()
        self.warm.release(generation)
        await asyncio.shield(self._later(self._retire(generation, drain)))
        return {"generation": number}

    def _no_more_hold(self) -> None:
        if self.routed is None and not self.closing:
            self._gate.shut()

    def unload_idle(self) -> None:
        """Stop what serves if nobody has asked it anything for as long as its `keep_alive`; the address stays."""
        now = self.routed
        if now is None or self.closing or self.shares or now.phase is not Phase.READY or now.bundle.keep_alive is None:
            return
        if self._changing.locked():  # engines are being added to it, or it is about to be replaced
            return
        idle = self._gate.idle_seconds()
        if idle is not None and idle >= now.bundle.keep_alive:
            self._gate.sleep(lambda: self._wake(now))  # first: from here on nothing reaches it
            self._later(now.unload())

    def _wake(self, generation: Generation) -> None:
        """Start it again, once for all who ask."""
        if generation is self.routed and not self.closing and (self._waking is None or self._waking.done()):
            self._waking = self._later(self._start_again(generation))

    async def _start_again(self, generation: Generation) -> None:
        try:
            await generation.wake()
        except Failure as failure:
            if generation is self.routed:
                self._gate.fail(f"the engine could not be started again: {failure.message}")

    def plan(self, number: int) -> Message:
        """What a generation was started for."""
        return self._known(number).bundle.plan.model_dump(mode="json", by_alias=False)

    def bundle(self, number: int) -> Message:
        """That, and how it was launched."""
        return self._known(number).bundle.as_json()

    async def down(self, hurry: asyncio.Event) -> None:
        """Stop everything. With `hurry` set, now or while this runs, engines are killed without a SIGTERM."""
        self.closing = True
        for task in list(self._background):
            task.cancel()
        stops = [asyncio.create_task(g.stop(0 if hurry.is_set() else None)) for g in self.generations.values()]
        if not stops:
            return
        hurried = asyncio.create_task(hurry.wait())
        await _either(asyncio.gather(*stops), hurried)
        if hurry.is_set():
            await asyncio.gather(*(g.stop(0) for g in list(self.generations.values())))
        hurried.cancel()
        await asyncio.gather(*stops)

    def changed(self, generation: Generation) -> None:
        """A generation has a new phase: the gate follows the one that serves."""
        if generation.phase is Phase.STOPPED:
            self.generations.pop(generation.id, None)
            self.routed = None if self.routed is generation else self.routed
            self.warm.release(generation)
        if generation is self.routed and not self.closing:
            self._follow(generation)
        if not self.closing:
            self.shares.follow(generation)
            if generation is self.warm.generation and generation.phase in (Phase.BACKOFF, Phase.FAILED):
                self.warm.end()  # nobody should wait for this one
        self._tell(generation, phase_event(generation))
        if generation.phase is Phase.STOPPED:
            self._listeners.pop(generation.id, None)

    def noted(self, generation: Generation, kept: Kept) -> None:
        """One process of several has a new phase."""
        if generation.balancer is not None or generation.bundle.replicas > 1:
            self._tell(generation, process_event(generation, kept))

    def _follow(self, generation: Generation) -> None:
        """The gate is as the generation that serves is."""
        if generation.phase is Phase.READY:
            self._gate.open(generation)
        elif generation.phase is Phase.FAILED:
            self._gate.shut("the engine crashed too often and is not restarted")
        elif generation.phase in (Phase.BACKOFF, Phase.STARTING) and not generation.asleep:
            self._gate.shut()

    def _tell(self, generation: Generation, event: Message) -> None:
        self._observe(event)
        if (say := self._listeners.get(generation.id)) is not None:
            say(event)

    async def _carry_out(self, order: Order, environment: Mapping[str, str]) -> Message:
        if self._changing.locked():
            order.say({"event": "waiting", "reason": "another change of this project is under way"})
        async with self._changing:
            now, wanted = self.routed, order.bundle
            if now is not None and order.restoring:
                return self._about(now, "unchanged")
            if now is not None and now.digest == wanted.digest:
                if now.asleep:  # with the next request it is as it is wanted now
                    now.bundle = wanted
                    return self._about(now, "unchanged")
                if now.phase is Phase.READY:
                    return await self._scale(now, order)
            if now is not None and now.stage != wanted.plan.stage and not order.allow_switch:
                raise Failure("stage-busy", f"stage `{now.stage}` has the address, not `{wanted.plan.stage}`",
                              f"`modelkit promote {now.stage} {wanted.plan.stage}` checks and switches; "
                              "`modelkit down` stops it")
            warm = self.warm.generation
            if warm is not None and (warm.digest, len(warm.replicas), warm.phase) == (
                    wanted.digest, wanted.replicas, Phase.READY):
                candidate = warm
            else:
                candidate = await self._begin(wanted, environment, order.say)
            order.decided = True
            return await self._hand_over(candidate, order.drain, order.say)

    async def _scale(self, generation: Generation, order: Order) -> Message:
        """As many engines as were asked for, of a launch that serves already; those that stay are left alone."""
        wanted, there = order.bundle, len(generation.replicas)
        if wanted.replicas == there:
            generation.bundle = wanted
            return self._about(generation, "unchanged")
        self._listeners[generation.id] = order.say
        try:
            if wanted.replicas > there:
                await generation.grow(wanted, self._progress(generation.id, order.say))
            else:
                order.decided = True
                work = self._later(generation.shrink(wanted, order.drain, self._gate.empty))
                await asyncio.shield(work)
        finally:
            self._listeners.pop(generation.id, None)
        return self._about(generation, "scaled")

    async def _begin(self, bundle: Bundle, environment: Mapping[str, str], say: Say) -> Generation:
        """A generation that is ready; when it can't be, nothing of it is left."""
        self._presume_open()
        self._gate.announce(bundle)
        number = next(self._numbers)
        generation = self.generations[number] = self._make(self, number, bundle, environment)
        self._listeners[number] = say
        try:
            await generation.start(self._progress(number, say))
        except BaseException:
            await asyncio.shield(self._later(generation.stop()))
            raise
        del self._listeners[number]
        return generation

    async def _hand_over(self, candidate: Generation, drain: float, say: Say, keep_warm: float = 0.0) -> Message:
        if candidate.phase in (Phase.DRAINING, Phase.STOPPING, Phase.STOPPED):  # its time was over just now
            self._presume_ready(candidate)
        before, self.routed = self.routed, candidate
        self.warm.release(candidate)
        self._follow(candidate)  # which may have died since it was ready
        self.shares.clear("the address changed hands")
        event = {"event": "routed", "generation": candidate.id, "stage": candidate.stage}
        self._observe(event)
        say(event)
        if before is not None and keep_warm > 0 and before.phase is Phase.READY:
            self.warm.keep(before, keep_warm, drain)
        elif before is not None:
            self._listeners[before.id] = say
            await self._retire(before, drain)
        return self._about(candidate, "switched" if before is not None else "started")

    async def _retire(self, generation: Generation, drain: float) -> None:
        self.shares.leave(generation, "it is to stop")  # first: from here on nothing new reaches it
        if generation.waking and self._waking is not None:
            self._waking.cancel()
            await asyncio.wait({self._waking})
        if generation.phase in (Phase.READY, Phase.STARTING, Phase.BACKOFF, Phase.FAILED):
            generation.draining()
            await self._gate.empty(generation.directory, drain)
        await generation.stop()

    @staticmethod
    def _progress(number: int, say: Say) -> Callable[[str], None]:
        return lambda line: say({"event": "log", "generation": number, "line": line})

    def _forget(self, order: Order) -> None:
        if self._orders.get(order.key) is order:
            del self._orders[order.key]

    def _abandoned(self, candidate: Generation) -> None:
        """Who started it went away: unless it serves or is kept warm, it stops; what it has begun for clients ends."""
        if candidate not in (self.routed, self.warm.generation) and not self.closing and (
                candidate.id in self.generations):
            self._retire_later(candidate, self._drain)

    def _retire_later(self, generation: Generation, drain: float) -> None:
        async def unless_it_serves() -> None:
            if generation is not self.routed:  # somebody may have switched to it just now
                await self._retire(generation, drain)

        self._later(unless_it_serves())

    def _later(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever waits has seen it
        return task

    def _about(self, generation: Generation, outcome: str) -> Message:
        return {"outcome": outcome, "generation": generation.id, "stage": generation.stage,
                "digest": generation.digest, "socket": str(generation.socket), "replicas": len(generation.replicas)}

    def _known(self, number: int) -> Generation:
        if number not in self.generations:
            raise Failure("no-such-generation", f"there is no generation {number}")
        return self.generations[number]

    @staticmethod
    def _presume_ready(generation: Generation) -> None:
        if generation.phase is not Phase.READY:
            raise Failure("not-ready", f"generation {generation.id} is {generation.phase}, not ready")

    @staticmethod
    def _presume_same_models(candidate: Generation, serving: Generation) -> None:
        here, there = _names(serving.bundle), _names(candidate.bundle)
        if here - there:
            raise Failure("other-models", f"generation {candidate.id} does not serve `{min(here - there)}`, "
                          f"which generation {serving.id} does", "a conversation can only go where its model is")

    def _presume_open(self) -> None:
        if self.closing:
            raise Failure("going-down", "the project is being shut down", "run it again in a moment")


async def _either(*futures: asyncio.Future[Any]) -> None:
    await asyncio.wait(futures, return_when=asyncio.FIRST_COMPLETED)


def _names(bundle: Bundle) -> set[str]:
    return {bundle.plan.name, *bundle.plan.profile.get("adapters", ())}

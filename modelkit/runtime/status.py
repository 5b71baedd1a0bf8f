"""What is said of the generations: to who asks, and to who scrapes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from modelkit.runtime.edge import family
from modelkit.runtime.kept import Kept, Phase
from modelkit.runtime.wire import Message, failure_as_json

if TYPE_CHECKING:
    from modelkit.runtime.fleet import Fleet
    from modelkit.runtime.generation import Generation


def about(generation: Generation, fleet: Fleet, sizes: Mapping[int, int], *, modelfile: str,
          in_flight: int) -> Message:
    """One generation as `status` has it; `sizes` are bytes of memory by pid.

    `split` and `mirror` are its share of the conversations beside what serves, or of their copies, `warm` the seconds
    for which it is kept ready after it has served; None where it has nothing of the kind.
    """
    state = generation.state()
    processes = [_process(kept, sizes) for kept in generation.processes()]
    engines = [process for process in processes if process["replica"]]
    shares = fleet.shares.of(generation)
    return {"id": state.id, "stage": state.stage, "engine": state.engine, "digest": state.digest,
            "name": generation.bundle.plan.name, "modelfile": modelfile, "phase": state.phase,
            "pid": engines[0]["pid"] if engines else None, "since": state.since, "uptime": generation.uptime,
            "restarts": generation.restarts, "load_seconds": generation.load_seconds, "socket": state.socket,
            "routed": generation is fleet.routed, "split": shares.get("split"), "mirror": shares.get("mirror"),
            "warm": fleet.warm.seconds_left(generation), "in_flight": in_flight,
            "rss": sum(process["rss"] for process in processes),
            "wanted": generation.bundle.replicas, "ready": generation.ready, "replicas": engines,
            "balancer": next((process for process in processes if not process["replica"]), None),
            "failure": failure_as_json(generation.failure) if generation.failure else None}


def measures(placed: Iterable[tuple[Generation, Fleet]]) -> list[str]:
    """The engines' lines of /metrics."""
    series = [((("stage", g.stage), ("model", g.bundle.plan.name), ("version", g.version), ("generation", str(g.id))),
               g, fleet) for g, fleet in placed]

    def gauge(name: str, text: str, value: Callable[[Generation, Fleet], float], kind: str = "gauge") -> list[str]:
        return family(name, kind, text, ((labels, value(g, fleet)) for labels, g, fleet in series))

    return [
        *gauge("modelkit_engine_up", "Whether the engine is ready.", lambda g, _: int(g.phase is Phase.READY)),
        *gauge("modelkit_replicas", "Engines that there are to be.", lambda g, _: g.bundle.replicas),
        *gauge("modelkit_replicas_ready", "Engines that are ready.", lambda g, _: g.ready),
        *gauge("modelkit_engine_restarts_total", "Restarts after a crash.", lambda g, _: g.restarts, "counter"),
        *gauge("modelkit_engine_load_seconds", "From its start to ready, the last time.",
               lambda g, _: g.load_seconds),
        *gauge("modelkit_share", "Its part of the conversations.", _share),
        *gauge("modelkit_mirrored_total", "Copies of requests that it answered, to nobody.",
               lambda g, _: g.tallies.mirrored.requests, "counter"),
        *gauge("modelkit_mirrored_errors_total", "Of these, the ones that failed.",
               lambda g, _: g.tallies.mirrored.errors, "counter"),
        *gauge("modelkit_mirrored_skipped_total", "Copies left out, since too many were under way.",
               lambda g, _: g.tallies.skipped, "counter")]


def _share(generation: Generation, fleet: Fleet) -> float:
    if generation is fleet.routed:
        return 1.0 - fleet.shares.part("split")
    return fleet.shares.of(generation).get("split", 0.0)


def _process(kept: Kept, sizes: Mapping[int, int]) -> Message:
    state = kept.state()
    return {"replica": state.replica, "phase": state.phase, "pid": state.pid, "since": state.since,
            "uptime": kept.uptime, "restarts": state.restarts, "socket": state.socket,
            "rss": sizes.get(state.pid, 0) if state.pid else 0,
            "failure": failure_as_json(kept.failure) if kept.failure else None}

"""`modelkit list|show|rm|gc|verify`: what the store holds."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import asdict
from typing import Any

from modelkit.cli.terminal import Terminal, amount
from modelkit.models import upkeep
from modelkit.models.store import Store
from modelkit.models.upkeep import Cleared, Holding


def run(arguments: Namespace, terminal: Terminal) -> int:
    """One of the words below."""
    return {"list": _list, "show": _show, "rm": _remove, "gc": _collect, "verify": _verify}[arguments.command](
        arguments, terminal)


def _list(arguments: Namespace, terminal: Terminal) -> int:
    held = upkeep.holdings(Store())
    terminal.document([_said(holding) for holding in held])
    if not held:
        terminal.note("the store is empty: `modelkit pull` brings models here")
        return 0
    terminal.table(("MODEL", "FORM", "SIZE", "MADE FROM IT", "DIGEST", "STATE"), [
        (one.artifact.resolved, one.artifact.form, amount(one.size),
         f"{len(one.made)}, {amount(sum(m.size for m in one.made))}" if one.made else "",
         upkeep.identity(one.artifact)[:19], "whole" if one.whole else "damaged") for one in held])
    return 0


def _show(arguments: Namespace, terminal: Terminal) -> int:
    from modelkit import models

    store = Store()
    holding = upkeep.find(arguments.model, store)
    adapter = holding.artifact.form == "adapter"
    facts = models.facts(models.weights_of(holding.artifact, store)) if holding.whole and not adapter else None
    terminal.document(_said(holding) | {"facts": None if facts is None else asdict(facts)})
    terminal.data(holding.artifact.resolved)
    for reference in holding.references:
        if reference != holding.artifact.resolved:
            terminal.data(f"  also known as {reference}")
    if facts is not None:
        rows = (("architecture", facts.architecture), ("parameters", f"{facts.parameters / 1e6:,.0f} M"),
                ("quantization", facts.quantization or "not said"),
                ("context", f"{facts.context_length} tokens" if facts.context_length else "not said"),
                ("vocabulary", f"{facts.vocabulary} tokens"), ("template", "yes" if facts.chat_template else "none"))
        terminal.table(("WHAT", "VALUE"), rows)
        terminal.data("")
    if adapter and holding.whole:
        terminal.table(("WHAT", "VALUE"), _adapter(holding, store))
        terminal.data("")
    terminal.table(("FILE", "ROLE", "SIZE", "DIGEST", "PATH"), [
        (piece.path, piece.role, amount(piece.size), piece.digest[:19], str(store.path(holding.artifact, piece)))
        for piece in holding.artifact.files])
    for made in holding.made:
        arguments_ = ", ".join(f"{key} {value}" for key, value in made.recipe.get("arguments", {}).items())
        terminal.data(f"made from it: {made.recipe['tool']} ({arguments_}), {amount(made.size)}, {made.path}")
    return 0 if holding.whole else 1


def _adapter(holding: Holding, store: Store) -> list[tuple[str, str]]:
    from modelkit.models.adapter_files import adapter_of
    from modelkit.models.adapters import adapter_facts

    facts = adapter_facts(adapter_of(holding.artifact, store))
    return [("rank", str(facts.rank)), ("changes", f"{len(facts.changes)} matrices"),
            ("made for", facts.base or facts.architecture or "not said")]


def _remove(arguments: Namespace, terminal: Terminal) -> int:
    store = Store()
    found = [upkeep.find(word, store) for word in arguments.models]  # all are known before one goes
    total = Cleared()
    for holding in {one.artifact.resolved: one for one in found}.values():
        cleared = upkeep.remove(holding, store)
        total.size += cleared.size
        total.files += cleared.files
        total.paths += cleared.paths
        if holding.artifact.place is not None:
            terminal.note(f"{holding.artifact.resolved} is forgotten; its files stay in {holding.artifact.place}")
    _say(total, terminal)
    return 0


def _collect(arguments: Namespace, terminal: Terminal) -> int:
    _say(upkeep.collect(Store(), unused_days=arguments.unused_for, everything_made=arguments.derived), terminal)
    return 0


def _verify(arguments: Namespace, terminal: Terminal) -> int:
    store = Store()
    only = upkeep.find(arguments.model, store) if arguments.model else None
    with terminal.progress() as progress:
        damages = upkeep.verify(store, progress, only)
    terminal.document({"whole": not damages, "damages": [asdict(one) for one in damages]})
    for one in damages:
        terminal.data(f"{one.path}: {one.why} ({one.reference})")
    if damages:
        terminal.note("what is damaged is not used: `modelkit pull` and `modelkit build` bring it back")
        return 1
    terminal.data("every file is what it was")
    return 0


def _say(cleared: Cleared, terminal: Terminal) -> None:
    terminal.document(asdict(cleared))
    terminal.data(f"cleared {cleared.files} files and folders, {amount(cleared.size)}")


def _said(holding: Holding) -> dict[str, Any]:
    artifact = holding.artifact
    return {"resolved": artifact.resolved, "references": list(holding.references), "form": artifact.form,
            "revision": artifact.revision, "size": holding.size, "digest": upkeep.identity(artifact),
            "whole": holding.whole, "place": artifact.place, "files": [asdict(piece) for piece in artifact.files],
            "made": [{"digest": m.digest, "recipe": m.recipe, "size": m.size, "path": str(m.path)}
                     for m in holding.made]}

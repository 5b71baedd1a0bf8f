"""`modelkit push`."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from modelkit.cli.terminal import Terminal, amount
from modelkit.failure import Failure
from modelkit.models.reference import Reference


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Put a model, or a LoRA adapter, into an OCI registry."""
    from modelkit import models
    from modelkit.models.adapter_files import fetch_adapter, is_adapter_at
    from modelkit.models.local import artifact_at
    from modelkit.models.sources import oci

    source, target = (Reference.parse(word, Path.cwd()) for word in (arguments.source, arguments.target))
    if target.kind != "oci":
        raise Failure("usage", f"`{arguments.target}` is not an OCI reference", "write `oci://host/namespace/name:tag`")
    store = models.Store()
    with terminal.progress() as progress:
        if source.path is not None and is_adapter_at(source.path):
            artifact = fetch_adapter(source, store)[0]
        elif source.path is not None:
            artifact = artifact_at(source.path, models.acquire(source, store=store, on_progress=progress), store)
        else:
            artifact = models.pull(source, store=store, on_progress=progress)
        pushed = oci.push(artifact, target, store, progress)
    terminal.document({"resolved": pushed.resolved, "size": pushed.size,
                       "files": [{"path": p.path, "digest": p.digest, "size": p.size} for p in pushed.files]})
    terminal.data(f"{pushed.resolved}  {len(pushed.files)} files, {amount(pushed.size)}")
    return 0

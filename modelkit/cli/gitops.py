"""A promotion for clusters: files that Git brings there, and the record of it, in one commit. Nothing is started."""

from __future__ import annotations

import re
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from modelkit.cli import project
from modelkit.cli.terminal import Terminal
from modelkit.failure import Failure

if TYPE_CHECKING:
    from modelkit.cli.stages import Stages
    from modelkit.planning.plan import Plan
    from modelkit.platforms.blue_green import Judges
    from modelkit.platforms.bundle import Bundle
    from modelkit.platforms.manifests import Manifests
    from modelkit.release.gates import GateContext, GateReport
    from modelkit.release.history import History
    from modelkit.release.record import Override, Subject, Written


def render(stages: Stages, arguments: Namespace, overrides: tuple[Override, ...], terminal: Terminal) -> int:
    """Judge what needs no engine, write the folder, then the record; 1 when a gate refuses it, 2 when one broke.

    Gates that need an engine count by their evidence, where there is some; else they are `skipped` in the record, and
    who merges it, or the cluster's own analysis, decides.
    """
    from modelkit.cli import remote
    from modelkit.release.hold import presume_free
    from modelkit.release.record import now
    from modelkit.runtime import bundle_folder

    folder = _folder(arguments)
    _presume_elsewhere(stages, arguments)
    bundle_folder.presume_ours(folder)  # before anything is fetched
    with terminal.progress() as progress:
        made = remote.manifests(stages, arguments.target, progress, terminal)
    project.say_losses(made.plan, terminal)
    placed = _placed(stages, made, folder, arguments)
    context = _context(stages, made, arguments, overrides, terminal)
    presume_free(context.history, context.subject, now(), _others(stages, made.plan))
    report = _judged(context, made.plan)
    bundle_folder.write(placed, folder, remote.lock_digest(stages.lock.lock, arguments.target))
    _say(placed, folder, report, _record(context, report), terminal)
    return 0


def _folder(arguments: Namespace) -> Path:
    if not (arguments.render and arguments.output):
        raise Failure("usage", "`--render` and `-o` go together", hint="modelkit promote FROM TO --render -o DIR")
    if arguments.canary or arguments.shadow or arguments.dry_run:
        raise Failure("usage", "with --render nothing runs here: no --canary, --shadow or --dry-run",
                      hint="on kserve, --weight is the canary; `git diff` shows what would change")
    return Path(arguments.output)


def _presume_elsewhere(stages: Stages, arguments: Namespace) -> None:
    """Raise Failure for a stage of this machine: it has no cluster that reads files."""
    from modelkit.planning.forms import wanted
    from modelkit.platforms import platform_row

    platform = wanted(stages.modelfile, arguments.target).platform
    if platform_row(platform).where == "process":
        raise Failure("usage", f"stage `{arguments.target}` runs on this machine, under platform {platform}",
                      hint=f"`modelkit promote {arguments.source} {arguments.target}` moves the address")


def _placed(stages: Stages, made: Manifests, folder: Path, arguments: Namespace) -> Manifests:
    """What is written: the platform's own files, under a Rollout or beside the version before where that is asked."""
    if arguments.strategy == "blue-green":
        from modelkit.platforms.blue_green import blue_green

        judges = _judges(stages, made.plan, arguments.gate_image) if arguments.gate_image else None
        return blue_green(made, judges, int(arguments.keep_warm))
    if arguments.gate_image:
        raise Failure("usage", "--gate-image goes with `--strategy blue-green`")
    if made.plan.platform == "kserve":
        from modelkit.platforms.weighted import versions_in, weighted

        return weighted(made, versions_in(_texts(folder)), arguments.weight or 100)
    if arguments.weight is not None:
        raise Failure("usage", f"weights are for platform kserve, and stage `{made.plan.stage}` is on "
                      f"{made.plan.platform}", hint="leave --weight out")
    return made


def _texts(folder: Path) -> dict[str, str]:
    """The files of a folder that modelkit wrote."""
    from modelkit.runtime.bundle_folder import read_index

    index = read_index(folder)
    return {} if index is None else {path: (folder / path).read_text("utf-8") for path in index["files"]}


def _judges(stages: Stages, plan: Plan, image: str) -> Judges:
    """The commands that hold a version to the Modelfile's tests and to its stage's EXPECTs, and what they read."""
    from modelkit.language.layers import effective
    from modelkit.platforms.blue_green import Judges, preview_url
    from modelkit.release.bench.limits import of_expectation

    if "@sha256:" not in image:
        raise Failure("image-unpinned", f"the image {image} has no digest", hint="--gate-image name@sha256:…")
    path = Path(stages.modelfile.path)
    given = [word for name, value in sorted(plan.arguments.items()) for word in ("--arg", f"{name}={value}")]
    words = (path.name, "--url", preview_url(plan), "-s", plan.stage, *given)
    commands: dict[str, tuple[str, ...]] = {}
    if stages.modelfile.tests or _golden(path):
        commands["tests"] = ("test", *words)
    said = effective(stages.modelfile, plan.stage).expectations
    if any(of_expectation(one.value) is not None for one in said):
        commands["latency"] = ("bench", *words)
    if not commands:
        raise Failure("nothing-to-judge", f"stage `{plan.stage}` has no tests, and no EXPECT that a Job could hold it "
                      "to", hint="write a TEST, or leave --gate-image out")
    return Judges(image, {one.relative_to(path.parent).as_posix(): _text(one) for one in _read_by(stages, path)},
                  commands)


def _golden(path: Path) -> list[Path]:
    return sorted(path.parent.glob("*.golden.yaml"))


def _read_by(stages: Stages, path: Path) -> list[Path]:
    """The files that the Modelfile's meaning and its tests are made of: those that it takes in, golden files, and what
    JSON of this folder either of them names."""
    golden = _golden(path)
    said = " ".join(_text(one) for one in (path, *golden))
    named = {path.parent / word for word in re.findall(r"[\w./-]+\.json\b", said)}
    taken = {path.parent / name for name in stages.modelfile.files.values()}
    return sorted({path, *golden, *taken, *(one for one in named if one.is_file())})


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise Failure("unreadable", f"{path} cannot be read: {why.lower()}") from None


def _context(stages: Stages, made: Manifests, arguments: Namespace, overrides: tuple[Override, ...],
             terminal: Terminal) -> GateContext:
    """What the gates are told: no engine of either stage."""
    from modelkit.cli.gate_measures import Measuring
    from modelkit.release import history
    from modelkit.release.gates import GateContext
    from modelkit.release.identity import actor_and_git, authors
    from modelkit.release.record import Records
    from modelkit.release.signature import signers
    from modelkit.release.verification import verify

    path, plan = Path(stages.modelfile.path), made.plan
    records = Records(path, plan.name, plan.stage)
    records.settle()
    told, allowed = history.read(records), signers(records.root)
    source, target = _bundle(stages.plan(arguments.source)), _bundle(plan)
    live = told.live.record.subject.ir if told.live and told.live.record.subject else None
    return GateContext(
        modelfile=stages.modelfile, source=arguments.source, target=plan.stage, subject=_subject(stages, made),
        history=told, actor=actor_and_git(path.resolve().parent)[0], overrides=overrides, authors=authors(path),
        measures=Measuring(stages, source, target, {}, live=live, terminal=terminal).measures(),
        signers=frozenset(verify(told, allowed).signed) if allowed else None, on_step=terminal.note)


def _bundle(plan: Plan) -> Bundle:
    """A plan as gates take it; what is not of this machine launches nothing here."""
    from modelkit import platforms
    from modelkit.engines.launch import Launch
    from modelkit.platforms.bundle import Bundle

    if plan.platform == "process" and not plan.needs:
        return platforms.render(plan)
    return Bundle(plan, Launch(()))


def _subject(stages: Stages, made: Manifests) -> Subject:
    """What is promoted, by digest: its model is what the lock says, its launch the files."""
    from modelkit.models.digests import file_digest
    from modelkit.planning.meaning import meaning
    from modelkit.planning.plan import digest
    from modelkit.release.record import Artifact, EngineSubject, Subject

    plan, lock = made.plan, stages.lock.lock
    assert plan.engine is not None
    locked = lock.stage_named(plan.stage) if lock is not None else None
    artifacts = []
    for at, reference in enumerate(locked.artifacts if locked is not None else ()):
        one = lock.artifact_for(reference) if lock is not None else None
        if one is not None:
            files = [file.model_dump(mode="json") for file in one.files]
            artifacts.append(Artifact(id="weights" if at == 0 else f"adapter {reference}", uri=one.resolved,
                                      revision=one.revision or None, tree=digest(files),
                                      bytes=sum(file.size for file in one.files)))
    template = plan.chat_template
    return Subject(modelfile=file_digest(Path(stages.modelfile.path)), ir=meaning(plan),
                   lock=file_digest(stages.lock.path) if stages.lock.path.is_file() else None,
                   artifacts=tuple(artifacts), template=digest(template) if template else None,
                   engine=EngineSubject(name=plan.engine.name, version=plan.engine.version, image=plan.image,
                                        argv=made.digest))


def _others(stages: Stages, plan: Plan) -> tuple[History, ...]:
    from modelkit.release.history import all_of

    return all_of(Path(stages.modelfile.path), plan.name)


def _judged(context: GateContext, plan: Plan) -> GateReport:
    """All gates; those that say no stop it. Raises Failure."""
    from modelkit.release.gates import run_gates
    from modelkit.release.verdict import EXIT_CODES

    report = run_gates(context)
    stopping = [one for one in report.stopping if one.verdict != "skipped"]
    if stopping:
        first = stopping[0]
        raise Failure("gate-refuses", f"the gate `{first.id}` says {first.verdict}: "
                      f"{next(iter(first.observed.values()), 'no reason')}", hint="nothing was written",
                      detail=tuple(f"{one.id}: {one.verdict}" for one in stopping[1:]),
                      exit_code=EXIT_CODES[first.verdict])
    return report


def _record(context: GateContext, report: GateReport) -> Written:
    from modelkit.release.promotion.story import Teller

    teller = Teller(Path(context.modelfile.path), context.history, context.subject, context.source, context.overrides)
    return context.history.records.append(teller("promote", report.gates, None))


def _say(made: Manifests, folder: Path, report: GateReport, record: Written, terminal: Terminal) -> None:
    from modelkit.cli.promoting import say_gates

    plan = made.plan
    terminal.document({"schema": "modelkit.rendered/1", "stage": plan.stage, "model": plan.name,
                       "platform": plan.platform, "path": str(folder),
                       "files": sorted(file.path for file in made.files), "notes": list(made.notes),
                       "record": {"id": record.id, "path": str(record.path)},
                       "gates": [one.model_dump(mode="json") for one in report.gates]})
    terminal.data(f"{plan.name} ({plan.stage}) is rendered for {plan.platform} in {folder}")
    say_gates(report.gates, terminal)
    terminal.data(f"  record   {record.path}")
    terminal.data(f"  commit   git add {folder} {record.path.parent}")
    skipped = [one.id for one in report.gates if one.verdict == "skipped" and one.required]
    if skipped:
        terminal.note(f"note: not shown here, for want of an engine: {', '.join(skipped)}; who merges this decides")
    for note in made.notes:
        terminal.note(f"note: {note}")



"""One Modelfile's place on this machine: its run directory, its logs, and the lock that says a supervisor lives."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelkit.failure import Failure
from modelkit.places import place

_SOCKET_PATH = 100  # bytes; the kernels' limits are 104 (macOS) and 108 (Linux), a final NUL included
_MEMBERS = "modelfiles.json"
_LONGEST = "g999999/r1024/engine.sock"


def project_id(*modelfiles: Path | str) -> str:
    """Names the project of a Modelfile, or of several in any order: the same for every path to the same files."""
    real = sorted({os.fsencode(os.path.realpath(modelfile)) for modelfile in modelfiles})
    return hashlib.sha256(b"\0".join(real)).hexdigest()[:12]


@dataclass(frozen=True)
class Project:
    """Where one project keeps what runs (`directory`, 0700) and what it said (`logs`)."""

    id: str

    @property
    def directory(self) -> Path:
        wanted = place("run") / self.id
        if len(os.fsencode(wanted / _LONGEST)) <= _SOCKET_PATH:
            return wanted
        return _short_root() / self.id

    @property
    def logs(self) -> Path:
        return place("state") / self.id

    @property
    def members(self) -> tuple[str, ...]:
        """The Modelfiles that run together here, where there are several; none is known of a project of one."""
        try:
            return tuple(map(str, json.loads((self.logs / _MEMBERS).read_bytes())))
        except (OSError, ValueError):
            return ()

    def join(self, modelfiles: Sequence[str]) -> None:
        """Write down which they are: each of them then leads to this project."""
        self.make()
        draft = self.logs / f"{_MEMBERS}.{os.getpid()}.tmp"
        try:
            draft.write_text(json.dumps(list(modelfiles)), "utf-8")
            draft.replace(self.logs / _MEMBERS)
        except OSError as error:
            raise Failure("run-directory", f"cannot write into `{self.logs}`: {error.strerror or error}",
                          "free some space there, or set MODELKIT_HOME to another place") from None

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def control(self) -> Path:
        return self.directory / "ctl.sock"

    @property
    def supervisor_log(self) -> Path:
        return self.logs / "supervisor.log"

    @property
    def access_log(self) -> Path:
        return self.logs / "access.log"

    @property
    def engine_log(self) -> Path:
        return self.logs / "engine.log"

    def generation(self, number: int) -> Path:
        """The run directory of one generation, with one of each of its engines in there."""
        return self.directory / f"g{number}"

    def make(self) -> None:
        """Create both directories for this user alone. Failure `run-directory` when that cannot be."""
        for path in (self.directory, self.logs):
            try:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                if path.parent == _short_root():
                    _presume_private(path.parent)
                path.mkdir(exist_ok=True, mode=0o700)
                _presume_private(path)
            except OSError as error:
                raise Failure("run-directory", f"cannot use `{path}`: {error.strerror or error}",
                              "make it a writable directory of yours, or set MODELKIT_HOME to another place") from None


def project_of(modelfile: Path | str) -> Project:
    """Where a Modelfile runs, or ran last: in a project of its own, or together with others."""
    own, real = Project(project_id(modelfile)), os.path.realpath(modelfile)
    if not Lock.free(own):
        return own
    shared = [Project(found.parent.name) for found in place("state").glob(f"*/{_MEMBERS}")]
    shared = [project for project in shared if real in project.members]
    if running := [project for project in shared if not Lock.free(project)]:
        return running[0]
    return max((own, *shared), key=_last_said)


def _last_said(project: Project) -> float:
    try:
        return (project.logs / "engine.log").stat().st_mtime
    except OSError:
        return 0.0


def projects() -> Iterator[Project]:
    """The projects that have a run directory now."""
    seen = set()
    for root in (place("run"), _short_root()):
        with contextlib.suppress(OSError):
            for entry in sorted(root.iterdir()):
                if len(entry.name) == 12 and entry.name not in seen and Project(entry.name).directory == entry:
                    seen.add(entry.name)
                    yield Project(entry.name)


class Lock:
    """The right to run a project, held for life by its supervisor.

    `flock` belongs to the open file: the kernel gives it back when the last process that holds the file is dead.
    The reaper inherits it, so that a free lock means that nothing of the run is left to clean up after.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path, self.fd = path, fd

    @classmethod
    def take(cls, project: Project, verb: str) -> Lock | None:
        """The lock, or None while somebody else has it."""
        for _ in range(100):
            try:
                fd = os.open(project.lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:
                project.make()  # its last holder took the directory with it
                continue
            except OSError as error:
                raise Failure("run-directory", f"cannot open `{project.lock}`: {error.strerror}") from None
            if not _lock(fd):
                os.close(fd)
                return None
            lock = cls(project.lock, fd)
            if lock.in_place():
                lock._say(verb)
                return lock
            os.close(fd)  # its last holder removed the file after we opened it
        return None

    @staticmethod
    def free(project: Project) -> bool:
        """Whether nobody holds the lock now."""
        try:
            fd = os.open(project.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # there is none, or `take` will say what is wrong with it
            return True
        try:
            # A shared lock: two that look at once must not see each other.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        finally:
            os.close(fd)

    def in_place(self) -> bool:
        """Whether the file that we hold is still the one that others would open."""
        try:
            there, held = os.lstat(self.path), os.fstat(self.fd)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (held.st_dev, held.st_ino)

    def release(self, *, remove: bool = True) -> None:
        """Give the right back, and leave no file."""
        if remove and self.in_place():
            self.path.unlink(missing_ok=True)
        os.close(self.fd)

    def _say(self, verb: str) -> None:
        said = {"pid": os.getpid(), "verb": verb, "since": int(time.time())}
        with contextlib.suppress(OSError):  # for people only
            os.truncate(self.fd, 0)
            os.pwrite(self.fd, json.dumps(said).encode() + b"\n", 0)


def _lock(fd: int) -> bool:
    for _ in range(5):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)  # `Lock.free` holds it for an instant
    return False


def _short_root() -> Path:
    """Stands in for a run directory whose path is too long for a socket; every command computes the same one.

    Not under TMPDIR: that may differ from one terminal to the next.
    """
    return Path("/tmp") / f"modelkit-{os.getuid()}-{hashlib.sha256(os.fsencode(place('run'))).hexdigest()[:8]}"


def _presume_private(path: Path) -> None:
    """Refuse a directory that somebody else made or could have put something into."""
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(20, "it is not a directory")
    if found.st_uid != os.getuid():
        raise PermissionError(13, "it belongs to another user")
    path.chmod(0o700)

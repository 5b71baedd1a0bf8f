"""`huggingface_hub`, asked for what modelkit needs of it, its errors said in modelkit's way.

Knows that library, not models. It is imported here only, when it is needed: it is an extra.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.models.artifact import presume_inside
from modelkit.models.sources.picking import Listed
from modelkit.models.sources.transport import Remote

if TYPE_CHECKING:
    from tqdm import tqdm

_MOST_FILES = 100_000
_LIST_TIMEOUT_S = 30.0
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def expect_hub() -> Hub:
    """The Hub that the environment names. Raises Failure when `huggingface_hub` is not installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        raise Failure("extra-missing", "the package huggingface_hub is needed for models from hf.co",
                      "pip install 'modelkit-llm[hf]'") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return Hub(constants.ENDPOINT, Path(constants.HF_HUB_CACHE))


@dataclass(frozen=True)
class Hub:
    """One Hub and the cache for what comes from it."""

    endpoint: str
    cache: Path

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).netloc

    def snapshot(self, repo: str, commit: str) -> Path:
        """Where the cache has, or would have, the files of a commit."""
        return self._room(repo) / "snapshots" / commit

    def listing(self, repo: str, revision: str | None) -> tuple[str, list[Listed]]:
        """The commit that `revision` is now (the usual branch if None), and the files there."""
        from huggingface_hub import HfApi, constants

        if constants.HF_HUB_OFFLINE:
            return self._cached_listing(repo, revision)
        api = HfApi(endpoint=self.endpoint, library_name="modelkit", library_version=__version__)
        with self._trouble(repo, revision):
            said = api.model_info(repo, revision=revision, files_metadata=True, timeout=_LIST_TIMEOUT_S)
        commit, files = said.sha, said.siblings
        if not isinstance(commit, str) or not _is_commit(commit) or not files or len(files) > _MOST_FILES:
            raise self._broken(repo, "says no commit, or no files")
        if revision is not None and _is_commit(revision) and revision != commit:
            raise self._broken(repo, f"answers with commit {commit} for {revision}")
        return commit, [self._listed(repo, file) for file in files]

    def download(self, repo: str, commit: str, path: str, on_bytes: Callable[[int], None]) -> Path:
        """Have one file in the cache. `on_bytes` hears how much of it came."""
        from huggingface_hub import hf_hub_download

        presume_inside(path)
        with self._trouble(repo, commit, path):
            return Path(hf_hub_download(repo, path, revision=commit, endpoint=self.endpoint, cache_dir=self.cache,
                                        library_name="modelkit", library_version=__version__,
                                        tqdm_class=_bar(on_bytes)))

    def remote(self, repo: str, commit: str, path: str, size: int | None = None) -> Remote:
        """A file's address, with what authorizes us there."""
        from huggingface_hub import get_token, hf_hub_url

        token = get_token()
        return Remote(hf_hub_url(repo, path, revision=commit, endpoint=self.endpoint), size=size,
                      headers={"Authorization": f"Bearer {token}"} if token else {})

    def _room(self, repo: str) -> Path:
        return self.cache / f"models--{repo.replace('/', '--')}"

    def _listed(self, repo: str, file: Any) -> Listed:
        size, sha256 = file.size, None if file.lfs is None else file.lfs.sha256
        if not isinstance(file.rfilename, str) or not isinstance(size, int) or size < 0:
            raise self._broken(repo, "lists files without names or sizes")
        if file.lfs is not None and file.lfs.size != size:
            raise self._broken(repo, f"says two sizes of {file.rfilename}")
        return Listed(file.rfilename, size, sha256, None if sha256 else file.blob_id)

    def _cached_listing(self, repo: str, revision: str | None) -> tuple[str, list[Listed]]:
        """What of a revision is in the cache: all that can be said without the network."""
        name = revision or "main"
        try:
            commit = name if _is_commit(name) else (self._room(repo) / "refs" / name).read_text().strip()
            snapshot = self.snapshot(repo, commit)
            files = [_cached(path, snapshot) for path in snapshot.rglob("*") if path.is_file()] \
                if _is_commit(commit) else []
        except OSError:
            files = []
        if not files:
            raise Failure("offline", f"hf.co/{repo} at {name} is not in {self.cache}, and HF_HUB_OFFLINE forbids to "
                          "ask for it", "unset HF_HUB_OFFLINE and run `modelkit pull` once")
        return commit, files

    @contextmanager
    def _trouble(self, repo: str, revision: str | None, path: str | None = None) -> Iterator[None]:
        """Say the library's errors in our way."""
        try:
            yield
        except Failure:
            raise
        except Exception as error:
            if (failure := self._explained(error, repo, revision, path)) is None:
                raise
            raise failure from None

    def _explained(self, error: Exception, repo: str, revision: str | None, path: str | None) -> Failure | None:
        from huggingface_hub import errors, get_token

        what = f"hf.co/{repo}" + (f"@{revision}" if revision else "") + (f", {path}" if path else "")
        detail = tuple(" ".join(str(error).split())[:300].splitlines())
        match error:
            case errors.GatedRepoError():
                return Failure("unauthorized", f"hf.co/{repo} is gated: its terms have to be accepted first",
                               f"accept them at {self.endpoint}/{repo}, then {_LOG_IN}", detail)
            case errors.RepositoryNotFoundError():
                return Failure("not-found", f"there is no model repository {repo}, or it is private",
                               "check the name" if get_token() else f"check the name; if it is private, {_LOG_IN}",
                               data={"repo": repo})
            case errors.RevisionNotFoundError():
                return Failure("not-found", f"hf.co/{repo} has no branch, tag or commit `{revision}`",
                               f"see {self.endpoint}/{repo}/commits")
            case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
                from huggingface_hub import constants

                if constants.HF_HUB_OFFLINE:
                    return Failure("offline", f"{what} is not in {self.cache}, and HF_HUB_OFFLINE forbids to ask for "
                                   "it", "unset HF_HUB_OFFLINE and run `modelkit pull` once")
                return self._network(what, error.__cause__ or error)
            case errors.EntryNotFoundError():
                return Failure("not-found", f"hf.co/{repo} has no file {path} at {revision}", "check the name")
            case errors.HFValidationError():
                return Failure("reference-invalid", f"`{repo}` is no repository: {detail[0] if detail else ''}")
            case errors.HfHubHTTPError():
                status = getattr(error.response, "status_code", 0)
                if status in (401, 403):
                    return Failure("unauthorized", f"{what} is not for everyone: {self.host} says {status}", _LOG_IN,
                                   detail)
                return Failure("rate-limited" if status == 429 else "network",
                               f"{what} can't be fetched: {self.host} answers with status {status}",
                               "wait some minutes; with a token the limits are wider" if status == 429
                               else "run it again later", detail)
            case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return Failure("disk-full", f"the disk with {self.cache} is full",
                               "make room (`hf cache ls`), or set HF_HOME to a folder on a larger disk")
            case OSError() if error.errno is not None and error.filename is not None:
                return Failure("store-unusable", f"{error.filename}: {(error.strerror or str(error)).lower()}",
                               "check the permissions, or set HF_HOME to another folder")
            case OSError():
                return self._network(what, error)
            case ValueError() | TypeError() | KeyError() | AttributeError():
                return self._broken(repo, "answers with something that is none")
        known = type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "hf_xet", "builtins")
        return self._network(what, error) if known else None

    def _network(self, what: str, error: BaseException) -> Failure:
        return Failure("network", f"{what} can't be fetched from {self.host}: {' '.join(str(error).split())[:200]}",
                       "check the network (proxies are taken from HTTPS_PROXY and NO_PROXY), then run it again")

    def _broken(self, repo: str, how: str) -> Failure:
        return Failure("server-broken", f"{self.host} can't be used for {repo}: it {how}",
                       "check HF_ENDPOINT: it does not lead to a Hub")


def _is_commit(text: str) -> bool:
    return len(text) == 40 and _is_hex(text)


def _is_hex(text: str) -> bool:
    return not set(text) - set("0123456789abcdef")


def _cached(path: Path, snapshot: Path) -> Listed:
    """A file of a snapshot: the cache calls a blob by its sha256, or by its name in git."""
    name = path.resolve().name
    known = name if _is_hex(name) else ""
    return Listed(path.relative_to(snapshot).as_posix(), path.stat().st_size, known if len(known) == 64 else None,
                  known if len(known) == 40 else None)


def _bar(on_bytes: Callable[[int], None]) -> type[tqdm[Any]]:
    """A progress bar that shows nothing and says what it is told. Of several for one file the first one counts."""
    from tqdm import tqdm

    bars: list[Any] = []

    class Bar(tqdm):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            self._came = options.get("initial") or 0
            bars.append(self)
            options.pop("name", None)
            super().__init__(*arguments, **(options | {"disable": True}))

        def update(self, n: float | None = 1) -> bool | None:
            self._came += int(n or 0)
            if self is bars[0]:
                on_bytes(self._came)
            return None

    return Bar

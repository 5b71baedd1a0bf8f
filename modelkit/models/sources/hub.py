"""`huggingface_hub`, asked for what modelkit needs of it, its errors said in modelkit's way.

Knows that library, not models. It is imported here only, and only when it is needed.
"""

from __future__ import annotations

import errno
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from modelkit import __version__
from modelkit.failure import Failure
from modelkit.models.artifact import presume_inside
from modelkit.models.sources.hub_cache import HubCache, is_commit, offline
from modelkit.models.sources.picking import Listed
from modelkit.models.sources.transport import Remote, get

if TYPE_CHECKING:
    from tqdm import tqdm

_LONGEST_LISTING = 64 << 20  # bytes
_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"


def expect_hub() -> Hub:
    """The Hub that the environment names. Raises Failure when `huggingface_hub` is not installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        raise Failure("extra-missing", "the package huggingface_hub is needed for models from hf.co",
                      "pip install 'huggingface_hub>=1.0'") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    constants.HF_HUB_DISABLE_TELEMETRY = True
    return Hub(constants.ENDPOINT, HubCache(Path(constants.HF_HUB_CACHE)))


@dataclass(frozen=True)
class Offered:
    """A repository as the Hub lists it among others."""

    repo: str
    tags: tuple[str, ...] = ()
    downloads: int = 0  # of the last month


@dataclass(frozen=True)
class Hub:
    """One Hub and the cache for what comes from it."""

    endpoint: str
    cache: HubCache

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).netloc

    def listing(self, repo: str, revision: str | None) -> tuple[str, list[Listed]]:
        """The commit that `revision` is now (the usual branch if None), and the files there.

        Asked by our own hands: the library reads an answer of any length, for as long as it takes.
        """
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            return self.cache.listing(repo, revision)
        url = f"{self.endpoint}/api/models/{repo}/revision/{quote(revision or 'main', safe='')}?blobs=true"
        answer = get(self._authorized(url), at_most=_LONGEST_LISTING)
        if answer.status != 200:
            raise self._refused(answer.status, answer.headers, repo, revision, "")
        try:
            said = json.loads(answer.body)
            commit, files = said["sha"], [_listed(file) for file in said["siblings"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise self._broken(repo, "answers with something that is no list of files") from None
        if not isinstance(commit, str) or not is_commit(commit) or not files:
            raise self._broken(repo, "says no commit, or no files")
        if revision is not None and is_commit(revision) and revision != commit:
            raise self._broken(repo, f"answers with commit {commit} for {revision}")
        return commit, files

    def tags(self, repo: str) -> tuple[str, ...]:
        """What a repository is tagged with: by its maker, and by the Hub from its card (`base_model:quantized:…`)."""
        said = self._asked(f"/api/models/{repo}", repo)
        return _offered(said).tags if isinstance(said, dict) else ()

    def tagged(self, tag: str, most: int) -> list[Offered]:
        """The repositories with a tag, those that are downloaded most first."""
        said = self._asked(f"/api/models?filter={quote(tag, safe='')}&sort=downloads&direction=-1&limit={most}", tag)
        if not isinstance(said, list):
            raise self._broken(tag, "answers with something that is no list of models")
        return [_offered(one) for one in said[:most] if isinstance(one, dict)]

    def _asked(self, path: str, what: str) -> Any:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise offline(f"what the Hub says of {what}", self.cache.folder)
        answer = get(self._authorized(self.endpoint + path), at_most=_LONGEST_LISTING)
        if answer.status != 200:
            raise self._refused(answer.status, answer.headers, what, None, "")
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise self._broken(what, "answers with something that is no JSON") from None

    def download(self, repo: str, commit: str, file: Listed, on_bytes: Callable[[int], None]) -> Path:
        """Have one file in the cache. `on_bytes` hears how much of it came."""
        from huggingface_hub import hf_hub_download

        presume_inside(file.path)

        def came(count: int) -> None:
            if count > file.size:
                raise Failure("size-mismatch", f"{file.path} of hf.co/{repo}@{commit} goes on after the {file.size} "
                              "bytes that it should have", "the server is broken or hostile; check HF_ENDPOINT")
            on_bytes(count)

        with self._trouble(repo, commit, file.path):
            return Path(hf_hub_download(
                repo, file.path, revision=commit, endpoint=self.endpoint, cache_dir=self.cache.folder,
                library_name="modelkit", library_version=__version__, tqdm_class=_bar(came)))

    def remote(self, repo: str, commit: str, path: str, size: int | None = None) -> Remote:
        """A file's address, with what authorizes us there."""
        from huggingface_hub import constants, hf_hub_url

        if constants.HF_HUB_OFFLINE:
            raise offline(f"{path} of hf.co/{repo}@{commit}", self.cache.folder)
        return self._authorized(hf_hub_url(repo, path, revision=commit, endpoint=self.endpoint), size)

    def _authorized(self, url: str, size: int | None = None) -> Remote:
        from huggingface_hub import get_token

        token = get_token()
        return Remote(url, size=size, headers={"Authorization": f"Bearer {token}"} if token else {},
                      insecure=self.endpoint.startswith("http:"))  # whoever sets HF_ENDPOINT so wants it so

    @contextmanager
    def _trouble(self, repo: str, revision: str | None, path: str) -> Iterator[None]:
        """Say the library's errors in our way."""
        try:
            yield
        except Failure:
            raise
        except Exception as error:
            if (failure := self._explained(error, repo, revision, path)) is None:
                raise
            raise failure from None

    def _explained(self, error: Exception, repo: str, revision: str | None, path: str) -> Failure | None:
        from huggingface_hub import constants, errors

        what = f"{path} of hf.co/{repo}@{revision}"
        match error:
            case errors.LocalEntryNotFoundError() | errors.OfflineModeIsEnabled():
                cause = error.__cause__
                if isinstance(cause, errors.HfHubHTTPError):
                    return self._explained(cause, repo, revision, path)
                if constants.HF_HUB_OFFLINE:
                    return offline(what, self.cache.folder)
                return self._network(what, cause or error)
            case errors.HfHubHTTPError():
                return self._refused(error.response.status_code, error.response.headers, repo, revision, path)
            case OSError() if error.errno in (errno.ENOSPC, errno.EDQUOT):
                return Failure("disk-full", f"the disk with {self.cache.folder} is full",
                               "make room (`hf cache ls`), or set HF_HOME to a folder on a larger disk")
            case OSError() if error.errno is not None and error.filename is not None:
                return Failure("store-unusable", f"{error.filename}: {(error.strerror or str(error)).lower()}",
                               "check the permissions, or set HF_HOME to another folder")
            case OSError() | RuntimeError() | ValueError():
                return self._network(what, error)
        known = type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "hf_xet")
        return self._network(what, error) if known else None

    def _refused(self, status: int, headers: Mapping[str, str], repo: str, revision: str | None, path: str) -> Failure:
        """What a status means: the Hub says more about it in a header."""
        from huggingface_hub import get_token

        code, known = headers.get("x-error-code", ""), get_token() is not None
        data = {"repo": repo, "status": status}
        if code == "GatedRepo":
            return Failure("unauthorized", f"hf.co/{repo} is gated: its terms have to be accepted first",
                           f"accept them at {self.endpoint}/{repo}, then {_LOG_IN}", data=data)
        if code == "RevisionNotFound":
            return Failure("not-found", f"hf.co/{repo} has no branch, tag or commit `{revision}`",
                           f"see {self.endpoint}/{repo}/commits", data=data)
        if code == "EntryNotFound":
            return Failure("not-found", f"hf.co/{repo} has no file {path} at {revision}", "check the name", data=data)
        if code == "RepoNotFound" or status == 404 or (status == 401 and not known):
            return Failure("not-found", f"there is no model repository {repo}, or it is private",
                           "check the name" if known else f"check the name; if it is private, {_LOG_IN}", data=data)
        if status in (401, 403):
            return Failure("unauthorized", f"{self.host} refuses hf.co/{repo}: it says {status}",
                           f"{_LOG_IN}: the token that is there is wrong or may not read this", data=data)
        return Failure("rate-limited" if status == 429 else "network",
                       f"{self.host} can't be used for {repo} now: it answers with status {status}",
                       "wait some minutes; with a token the limits are wider" if status == 429
                       else "run it again later", data=data)

    def _network(self, what: str, error: BaseException) -> Failure:
        return Failure("network", f"{what} can't be fetched from {self.host}: {' '.join(str(error).split())[:200]}",
                       "check the network (proxies are taken from HTTPS_PROXY and NO_PROXY), then run it again")

    def _broken(self, repo: str, how: str) -> Failure:
        return Failure("server-broken", f"{self.host} can't be used for {repo}: it {how}",
                       "check HF_ENDPOINT: it does not lead to a Hub")


def _offered(said: dict[str, Any]) -> Offered:
    """Whatever is not as it should be counts as not said."""
    repo, tags, downloads = said.get("id"), said.get("tags"), said.get("downloads")
    return Offered(repo if isinstance(repo, str) else "",
                   tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
                   downloads if isinstance(downloads, int) and downloads >= 0 else 0)


def _listed(said: dict[str, Any]) -> Listed:
    """A file as the Hub lists it. Raises for what is none."""
    path, size, large = said["rfilename"], said["size"], said.get("lfs")
    if not isinstance(path, str) or not isinstance(size, int) or size < 0 or (large and large["size"] != size):
        raise TypeError
    return Listed(path, size, str(large["sha256"])) if large else Listed(path, size, git=said.get("blobId"))


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

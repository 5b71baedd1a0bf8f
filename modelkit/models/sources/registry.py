"""One repository of an OCI registry: manifests read and written, blobs located, the right to do so obtained.

The OCI distribution specification 1.1, and Docker's token authentication (distribution's `docs/spec/auth/token.md` and
`oauth.md`), which registries speak besides. Loopback registries are asked over http, all others over https only. What
authorizes a request goes to the registry's own origin, never along a redirect, and into no message.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from modelkit.failure import Failure
from modelkit.models.sources import credentials
from modelkit.models.sources.connections import is_loopback
from modelkit.models.sources.manifests import (
    ACCEPTED,
    LARGEST,
    OCI_MANIFEST,
    Layer,
    Manifest,
    broken,
    digest_of,
    parse,
)
from modelkit.models.sources.transport import NOTHING, Remote, Response, get
from modelkit.models.store import Progress, Store

_CHALLENGE = re.compile(r'(?P<scheme>Bearer|Basic)(?P<rest>(?:[ ,]+[a-z_]+="[^"]*"|[ ,]+[a-z_]+=[^\s",]+)*)', re.I)
_PARAMETER = re.compile(r'([A-Za-z_]+)=(?:"([^"]*)"|([^\s",]+))')
_TOKEN = re.compile(r"[\x21-\x7e]{1,65536}")
_SMALL = 1 << 20  # bytes of an answer that is no manifest
_DOCKER_HUB = ("docker.io", "index.docker.io")


class Registry:
    """A repository, with what authorizes us there once that was asked for. For one thread."""

    def __init__(self, host: str, name: str, *, writing: bool = False) -> None:
        hub = host in _DOCKER_HUB
        self.where = f"{host}/{name}"
        self.host = "registry-1.docker.io" if hub else host
        self._login = f"log in: `docker login{'' if hub else f' {host}'}`"
        self.name = f"library/{name}" if hub and "/" not in name else name
        self.loopback = is_loopback(host.rpartition(":")[0] or host)
        self.base = f"{'http' if self.loopback else 'https'}://{self.host}"
        self._actions = "pull,push" if writing else "pull"
        self._authorization = ""

    def ping(self) -> None:
        """Raise Failure unless a registry answers there."""
        answer = self.ask("GET", f"{self.base}/v2/")
        if answer.status != 200:
            raise Failure("registry-missing", f"there is no registry at {self.host}: it answers with {answer.status}",
                          "check the host in the reference", _words(answer))

    def manifest(self, reference: str) -> Manifest:
        """The manifest behind a tag or a digest; a list of one is followed."""
        found = self._manifest(reference)
        if isinstance(found, Layer):
            found = self._manifest(found.digest)
            if isinstance(found, Layer):
                broken(self.where, "it has lists of manifests inside lists")
        return found

    def digest(self, reference: str) -> str:
        """The digest behind a tag: of a manifest, or of a list of manifests."""
        body = self._body(reference)
        if b'"schemaVersion"' not in body:
            broken(f"{self.where}:{reference}", "what it has there is no manifest")
        return digest_of(body)

    def _manifest(self, reference: str) -> Manifest | Layer:
        return parse(self._body(reference), f"{self.where}{'@' if ':' in reference else ':'}{reference}")

    def _body(self, reference: str) -> bytes:
        """A manifest's bytes, which have the digest that was asked for, or that the registry says."""
        answer = self.ask("GET", f"{self.base}/v2/{self.name}/manifests/{reference}", {"Accept": ACCEPTED},
                          at_most=LARGEST)
        what = f"{self.where}{'@' if ':' in reference else ':'}{reference}"
        if answer.status == 404:
            raise Failure("model-missing", f"there is no {what}", "check the name and the tag", _words(answer))
        self.presume(answer, 200, f"{what} can't be read")
        digest = digest_of(answer.body)
        said = answer.headers.get("Docker-Content-Digest", digest)
        wanted = reference if ":" in reference else digest
        if digest != wanted or (said.startswith("sha256:") and said != digest):
            raise Failure("digest-mismatch", f"{what} is not what the registry says: its manifest is {digest}",
                          "the registry is broken or hostile; don't use it", data={"expected": wanted, "found": digest})
        return answer.body

    def blob(self, layer: Layer) -> Remote:
        """Where a blob is."""
        url = f"{self.base}/v2/{self.name}/blobs/{layer.digest}"
        return Remote(url, layer.digest, layer.size, self.authorized(url))

    def fetch(self, layer: Layer, store: Store, on_progress: Progress, label: str) -> None:
        """Have a blob in the store. A token that runs out on the way is renewed."""
        from modelkit.models.sources.download import download

        best = stuck = 0

        def progress(done: int, total: int | None, label: str) -> None:
            nonlocal best, stuck
            if done > best:
                best, stuck = done, 0
            on_progress(done, total, label)

        while True:
            try:
                download(self.blob(layer), store, progress, label=label)
                return
            except Failure as failure:
                if failure.code != "unauthorized" or stuck > 1:
                    raise
            stuck += 1
            self.ask("HEAD", self.blob(layer).url)

    def read(self, layer: Layer) -> bytes:
        """The content of a small blob, verified."""
        answer = self.ask("GET", self.blob(layer).url, at_most=min(layer.size, LARGEST))
        self.presume(answer, 200, f"a layer of {self.where} can't be read")
        if digest_of(answer.body) != layer.digest:
            raise Failure("digest-mismatch", f"{self.where} has other bytes under {layer.digest}",
                          "the registry is broken or hostile; don't use it")
        return answer.body

    def has(self, digest: str, size: int) -> bool:
        """Is this blob there? What the registry says about it has to be right."""
        answer = self.ask("HEAD", f"{self.base}/v2/{self.name}/blobs/{digest}")
        if not self.ours(answer.url):
            return True  # who sends us to where it is has it; an address signed for GET may refuse a HEAD
        if answer.status != 200:
            return False
        if (answer.headers.get("Docker-Content-Digest", digest) != digest
                or answer.headers.get("Content-Length", str(size)) != str(size)):
            broken(self.where, f"it says that it has {digest}, in another size or under another name")
        return True

    def write_manifest(self, reference: str, body: bytes) -> str:
        """Give a manifest a tag, or only its digest. Its layers have to be there."""
        digest = digest_of(body)
        answer = self.ask("PUT", f"{self.base}/v2/{self.name}/manifests/{reference or digest}",
                          {"Content-Type": OCI_MANIFEST}, body)
        self.presume(answer, 201, f"{self.where}:{reference} can't be written")
        said = answer.headers.get("Docker-Content-Digest")
        if (said or self.manifest(digest).digest) != digest:
            raise Failure("digest-mismatch", f"{self.where} took the manifest {digest} for {said}",
                          "the registry is broken; don't use what it has now")
        return digest

    def ask(self, method: str, url: str, headers: Mapping[str, str] = NOTHING, body: bytes | None = None, *,
            at_most: int = _SMALL, stall_s: float | None = None) -> Response:
        """Its answer, with the right to it obtained if it asks for that. Raises Failure when it gives no right."""
        for tried in range(2):
            remote = Remote(url, headers={**headers, **self.authorized(url)})
            answer = get(remote, at_most=at_most, method=method, body=body, stall_s=stall_s)
            if answer.status not in (401, 403) or not self.ours(answer.url):
                return answer
            if tried or answer.status == 403:
                break
            self._authorization = self._obtain(answer.headers.get("WWW-Authenticate", ""))
        actions = self._actions.replace(",", " or ")
        raise Failure("unauthorized", f"{self.where}: the registry does not let us {actions} (status {answer.status})",
                      f"check the name, or {self._login}",
                      _words(answer), data={"status": answer.status})

    def authorized(self, url: str) -> dict[str, str]:
        """The headers that authorize a request to `url`: none where that is not the registry itself."""
        return {"Authorization": self._authorization} if self._authorization and self.ours(url) else {}

    def ours(self, url: str) -> bool:
        """Does this address belong to the registry itself?"""
        return urlsplit(url)[:2] == urlsplit(self.base)[:2]

    def location(self, answer: Response) -> str:
        """Where an upload goes on. Raises Failure for addresses that nothing should be sent to."""
        try:
            url = urljoin(answer.url, answer.headers.get("Location", ""))
            scheme = urlsplit(url).scheme
        except ValueError:
            scheme, url = "", ""
        if "Location" not in answer.headers or scheme not in ("https", "http") or (scheme == "http"
                                                                                  and not self.loopback):
            broken(self.where, "it does not say, or not credibly, where an upload goes on")
        return url

    def presume(self, answer: Response, status: int, what: str) -> None:
        """Raise Failure unless the answer has this status."""
        if answer.status != status:
            raise Failure("registry-refused", f"{what}: the registry answers with {answer.status}",
                          "its own words, if it had any, are above" if _words(answer) else "ask those who run it",
                          _words(answer), data={"status": answer.status})

    def _obtain(self, said: str) -> str:
        """What authorizes us, by the challenge in a WWW-Authenticate header; empty when it is none that we know."""
        challenges = {match["scheme"].lower(): {key.lower(): quoted or plain for key, quoted, plain
                                                in _PARAMETER.findall(match["rest"])}
                      for match in _CHALLENGE.finditer(said[:8192])}
        known = credentials.find(self.host, self.name)
        if "bearer" in challenges:
            return self._token(challenges["bearer"], known)
        return known.basic if "basic" in challenges and known is not None and known.user else ""

    def _token(self, challenge: Mapping[str, str], known: credentials.Credentials | None) -> str:
        realm = challenge.get("realm", "")
        try:
            parts = urlsplit(realm)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme != "https" and not (self.loopback and parts.scheme == "http"):
            broken(self.where, "it sends us to no credible place for a token")
        asked = {"service": challenge.get("service", ""), "scope": challenge.get("scope")
                 or f"repository:{self.name}:{self._actions}"}
        if known is not None and known.identity_token:
            form = asked | {"grant_type": "refresh_token", "client_id": "modelkit",
                            "refresh_token": known.identity_token}
            remote = Remote(realm, headers={"Content-Type": "application/x-www-form-urlencoded"})
            answer = get(remote, at_most=_SMALL, method="POST", body=urlencode(form).encode())
        else:
            query = "&".join(filter(None, (parts.query, urlencode({k: v for k, v in asked.items() if v}))))
            remote = Remote(parts._replace(query=query).geturl())
            if known is not None:
                remote = replace(remote, headers={"Authorization": known.basic})
            answer = get(remote, at_most=_SMALL)
        if answer.status != 200:
            who = f"the user `{known.user}`" if known is not None and known.user else "anonymous users"
            raise Failure("unauthorized", f"{self.where} is not for {who}: the registry gives no token "
                          f"(status {answer.status})", self._login, _words(answer),
                          data={"status": answer.status})
        said = _json(answer.body)
        token = said.get("token") or said.get("access_token")
        if not isinstance(token, str) or not _TOKEN.fullmatch(token):
            broken(self.where, "it gave something that is no token")
        return f"Bearer {token}"


def _words(answer: Response) -> tuple[str, ...]:
    """What a registry says about an error, as much of it as can be shown."""
    errors = _json(answer.body).get("errors")
    found = [f"{one.get('code', '')}: {one.get('message', '')}" for one in errors[:4] if isinstance(one, dict)] \
        if isinstance(errors, list) else []
    return tuple("".join(c if c.isprintable() else "?" for c in line[:200]) for line in found)


def _json(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}

"""The client of a registry: who it trusts with what, and that a hostile one loses to one clear error."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelkit.failure import Failure
from modelkit.models.acquire import pull
from modelkit.models.artifact import Artifact, Piece
from modelkit.models.reference import Reference
from modelkit.models.sources import oci
from modelkit.models.sources import registry as client
from modelkit.models.store import Store
from tests.unit.models.gguf_files import TensorOf, gguf, pair
from tests.unit.models.registries import OCI, Answer, Registry, serving
from tests.unit.models.servers import File, sha256
from tests.unit.models.servers import serving as serving_files

GGUF = gguf([pair("general.architecture", "string", "llama")], [TensorOf("t", (256,), 0, bytes(1024))])
WEIGHT = "application/vnd.docker.ai.gguf.v3"
INDEX = "application/vnd.oci.image.index.v1+json"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr("modelkit.models.sources.transport._PAUSE_S", 0.001)
    with serving() as one:
        yield one


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/.docker").mkdir(parents=True)
    return tmp_path / "home"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def at(registry: Registry, name: str = "ns/name:t") -> Reference:
    return Reference.parse(f"oci://{registry.host}/{name}", Path("/"))


def refused(registry: Registry, store: Store, name: str = "ns/name:t") -> Failure:
    """The one error of a pull, after which nothing is kept."""
    with pytest.raises(Failure) as failed:
        pull(at(registry, name), store=store)
    for room in ("blobs", "views", "index", "work"):
        assert not (store.root / room).exists() or not any((store.root / room).iterdir()), room
    assert "\n" not in failed.value.message and failed.value.message.isprintable() and len(failed.value.message) < 400
    return failed.value


def login(home: Path, **said: Any) -> None:
    (home / ".docker/config.json").write_text(json.dumps(said))


def auth(user: str, secret: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{secret}".encode()).decode()}


# who we are

def test_anonymous_token(registry: Registry, store: Store) -> None:
    registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.challenge, registry.tokens = f'Bearer realm="{registry.url}/token",service="here"', ["abc"]
    pull(at(registry), store=store)
    (asked,) = {path for _, path, _ in registry.seen if path.startswith("/token")}
    assert asked == "/token?service=here&scope=repository%3Ans%2Fname%3Apull"


def test_a_token_for_somebody(registry: Registry, store: Store, home: Path) -> None:
    registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.challenge, registry.tokens = f'Bearer realm="{registry.url}/token"', ["abc"]
    registry.basic = f"Basic {auth('me', 'pass')['auth']}"
    assert refused(registry, store).code == "unauthorized"
    login(home, auths={registry.host: auth("me", "wrong")})
    failure = refused(registry, store)
    assert failure.code == "unauthorized" and "the user `me`" in failure.message and failure.detail == ("DENIED: who?",)
    login(home, auths={registry.host: auth("me", "pass")})
    pull(at(registry), store=store)
    given = {authorization for _, path, authorization in registry.seen if "/blobs/" in path}
    assert given == {"Bearer abc"}


def test_a_token_that_runs_out_is_renewed(registry: Registry, store: Store) -> None:
    layers = [(WEIGHT, GGUF), *(("application/vnd.docker.ai.license", bytes([n])) for n in range(6))]
    registry.publish("ns/name:t", *layers)
    registry.challenge, registry.tokens, registry.uses = f'Bearer realm="{registry.url}/token"', ["abc"], 4
    assert len(pull(at(registry), store=store).files) == 7
    assert len([path for _, path, _ in registry.seen if path.startswith("/token")]) >= 2


def test_what_authorizes_stays_at_home(registry: Registry, store: Store, home: Path) -> None:
    """Real registries send us to a content network for blobs: it gets a signed address and nothing else."""
    registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.challenge = 'Basic realm="x"'
    registry.basic = f"Basic {auth('me', 'pass')['auth']}"
    login(home, auths={registry.host: auth("me", "pass")})
    with serving_files({f"/{sha256(GGUF)}": File(GGUF)}) as network:
        registry.blobs_at = network.url.replace("127.0.0.1", "localhost")
        pull(at(registry), store=store)
        assert network.seen and not any("Authorization" in headers for _, _, headers in network.seen)
    assert any(authorization == registry.basic for _, path, authorization in registry.seen if "/blobs/" in path)


def test_an_identity_token_is_exchanged_at_home_alone(registry: Registry, store: Store, home: Path) -> None:
    registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.challenge, registry.tokens = f'Bearer realm="{registry.url}/token"', ["abc"]
    login(home, auths={registry.host: {"identitytoken": "secret"}})
    with serving() as other:
        away = Answer(307, {"Location": f"{other.url}/token"})
        registry.oddly = lambda method, path: away if path == "/token" else None
        failure = refused(registry, store)
        assert failure.code == "insecure" and not other.seen and "secret" not in str(failure.as_json())
    registry.oddly = lambda method, path: None
    pull(at(registry), store=store)
    assert ("POST", "/token", "") in registry.seen


@pytest.mark.parametrize("challenge", [
    'Bearer realm="file:///etc/passwd"', 'Bearer realm="http://registry.example/token"', "Bearer",
    'Bearer realm="http://[::1"', 'Bearer realm=""'])
def test_tokens_from_nowhere(registry: Registry, store: Store, home: Path, challenge: str) -> None:
    registry.challenge = challenge
    login(home, auths={registry.host: auth("me", "secret")})
    failure = refused(registry, store)
    assert failure.code in ("registry-broken", "unauthorized", "insecure")
    assert "secret" not in str(failure.as_json())


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 1}', b'{"token": "a\\r\\nX: y"}', b'{"token": "\xc3\xa9"}',
                                  b'{"token": "' + b"x" * 99999 + b'"}', b"[" * 100000],
                         ids=["empty", "array", "number", "control", "accent", "long", "deep"])
def test_tokens_that_are_none(registry: Registry, store: Store, body: bytes) -> None:
    registry.challenge = f'Bearer realm="{registry.url}/token"'
    registry.oddly = lambda method, path: Answer(200, body=body) if path.startswith("/token") else None
    assert refused(registry, store).code == "registry-broken"


def test_who_is_asked_how() -> None:
    bases = {host: client.Registry(host, "a").base for host in
             ("localhost:5000", "127.0.0.1", "127.0.0.1.example:80", "registry.example", "docker.io")}
    assert bases == {"localhost:5000": "http://localhost:5000", "127.0.0.1": "http://127.0.0.1",
                     "127.0.0.1.example:80": "https://127.0.0.1.example:80",
                     "registry.example": "https://registry.example", "docker.io": "https://registry-1.docker.io"}
    assert client.Registry("docker.io", "name").name == "library/name"


# hostile manifests

def one(**changes: Any) -> bytes:
    layer = {"mediaType": WEIGHT, "digest": sha256(GGUF), "size": len(GGUF)} | changes
    return manifest([layer])


def manifest(layers: Any, **changes: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": OCI, "layers": layers, "config": {
        "mediaType": "a/b", "digest": sha256(b"{}"), "size": 2}} | changes).encode()


def titled(*names: str) -> bytes:
    return manifest([{"mediaType": "a/b", "digest": sha256(name.encode()), "size": len(name),
                      "annotations": {"org.opencontainers.image.title": name}} for name in names])


MANIFESTS = {
    "no json": (b"\xff\x00", "registry-broken"), "an array": (b"[]", "registry-broken"),
    "empty": (b" ", "registry-broken"), "deep": (b"[" * 100_000, "registry-broken"),
    "of version 1": (manifest([], schemaVersion=1), "registry-broken"),
    "of another type": (manifest([], mediaType="a/b"), "registry-broken"),
    "no layers": (manifest(None), "model-missing"), "odd layers": (manifest([7]), "registry-broken"),
    "layers by name": (manifest({}), "registry-broken"),
    "no config": (manifest([], config=None), "registry-broken"),
    "too many layers": (manifest([{}] * 5000), "registry-broken"),
    "negative size": (one(size=-1), "registry-broken"), "true size": (one(size=True), "registry-broken"),
    "huge size": (one(size=1 << 60), "registry-broken"), "more than the disk": (one(size=1 << 43), "disk-full"),
    "no digest": (one(digest=None), "registry-broken"), "md5": (one(digest="md5:00"), "registry-broken"),
    "path as digest": (one(digest="sha256:../../../etc/passwd"), "registry-broken"),
    "odd media type": (one(mediaType=[]), "registry-broken"),
    "no model": (manifest([]), "model-missing"),
    "traversal": (titled("../../m.gguf"), "path-escapes"), "absolute": (titled("/m.gguf"), "path-escapes"),
    "windows": (titled("c:\\m.gguf"), "path-escapes"), "control": (titled("m\n.gguf"), "path-escapes"),
    "long": (titled("m" * 2000 + ".gguf"), "path-escapes"),
    "twice": (titled("m.gguf", "M.GGUF"), "registry-broken"),
    "file and folder": (titled("m.gguf", "m.gguf/n.json"), "registry-broken"),
    "a choice": (json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": OCI, "digest": sha256(x), "size": 1} for x in (b"1", b"2")]}).encode(), "registry-list"),
}


@pytest.mark.parametrize("vice", MANIFESTS)
def test_hostile_manifests(registry: Registry, store: Store, vice: str) -> None:
    body, code = MANIFESTS[vice]
    registry.put("ns/name:t", body)
    assert refused(registry, store).code == code


def test_a_list_of_one_is_followed(registry: Registry, store: Store) -> None:
    digest = registry.publish("ns/name:x", (WEIGHT, GGUF))
    entry = {"mediaType": OCI, "digest": digest, "size": 9}
    signed = entry | {"digest": sha256(b"no"), "platform": {"os": "unknown", "architecture": "unknown"}}
    registry.put("ns/name:t", json.dumps({"schemaVersion": 2, "mediaType": INDEX,
                                          "manifests": [entry, signed]}).encode())
    assert pull(at(registry), store=store).revision == digest
    inner = registry.put("ns/name:y", json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    registry.put("ns/name:z", json.dumps({"schemaVersion": 2, "manifests": [entry | {"digest": inner}]}).encode())
    with pytest.raises(Failure, match="lists of manifests inside lists"):
        oci.resolve(at(registry, "ns/name:z"), store, lambda *_: None)


ANSWERS = {
    "wrong digest": ("/manifests/", Answer(200, {"Docker-Content-Digest": sha256(b"x")}, one()), "digest-mismatch"),
    "endless manifest": ("/manifests/", Answer(200, endless=True), "size-mismatch"),
    "redirect to a file": ("/manifests/", Answer(302, {"Location": "file:///etc/passwd"}), "network"),
    "redirect to http": ("/manifests/", Answer(302, {"Location": "http://registry.example/x"}), "insecure"),
    "redirect to itself": ("/manifests/", Answer(302, {"Location": "/v2/ns/name/manifests/t"}), "too-many-redirects"),
    "a server error": ("/manifests/", Answer(500, body=b"<html>" * 1000), "network"),
    "a teapot": ("/manifests/", Answer(418, body=b'{"errors": [{"message": "\\u001b[31mred"}]}'), "registry-refused"),
    "other bytes": ("/blobs/", Answer(200, body=GGUF[::-1]), "digest-mismatch"),
    "too few bytes": ("/blobs/", Answer(200, body=GGUF[:-1]), "size-mismatch"),
    "endless blob": ("/blobs/", Answer(200, endless=True), "size-mismatch"),
    "blob in a loop": ("/blobs/", Answer(307, {"Location": "?again"}), "too-many-redirects"),
    "blob in a file": ("/blobs/", Answer(307, {"Location": "file:///etc/passwd"}), "network"),
    "no blob": ("/blobs/", Answer(404), "not-found"),
    "forbidden blob": ("/blobs/", Answer(403), "unauthorized"),
}


@pytest.mark.parametrize("vice", ANSWERS)
def test_hostile_answers(registry: Registry, store: Store, vice: str) -> None:
    part, answer, code = ANSWERS[vice]
    registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.oddly = lambda method, path: answer if part in path else None
    failure = refused(registry, store)
    assert failure.code == code
    assert "\x1b" not in str(failure.detail)


def test_a_trickle_without_an_end(registry: Registry, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modelkit.models.sources.transport._DOCUMENT_S", 0.1)
    registry.oddly = lambda method, path: Answer(200, endless=True, trickle=0.005)
    assert refused(registry, store).code == "network"


def test_another_manifest_under_a_digest(registry: Registry, store: Store) -> None:
    wanted = registry.publish("ns/name:t", (WEIGHT, GGUF))
    registry.manifests[f"ns/name@{wanted}"] = one(size=len(GGUF), mediaType="application/vnd.docker.ai.safetensors")
    assert refused(registry, store, f"ns/name@{wanted}").code == "digest-mismatch"


# uploads

LARGE = GGUF + bytes(12 << 20)


def held(store: Store, data: bytes = LARGE) -> Artifact:
    with store.workspace("held") as work:
        (work / "file").write_bytes(data)
        store.add(work / "file", sha256(data))
    return Artifact("here", "here", "gguf", (Piece("model.gguf", sha256(data), len(data)),))


def sent(registry: Registry, method: str) -> int:
    return sum(1 for used, path, _ in registry.seen if used == method and "/uploads/" in path)


def test_a_cut_upload_goes_on(registry: Registry, store: Store) -> None:
    registry.cut_uploads = [5 << 20, 2 << 20]
    done: list[int] = []
    oci.push(held(store), at(registry), store, lambda count, total, label: done.append(count))
    assert registry.blobs[sha256(LARGE)] == LARGE
    assert (sent(registry, "POST"), sent(registry, "PATCH")) == (2, 3)  # the other is the config
    assert not any((store.root / "partial").iterdir())


def test_an_upload_begins_anew_where_it_can_t_go_on(registry: Registry, store: Store) -> None:
    registry.cut_uploads, registry.resumes = [5 << 20], False
    oci.push(held(store), at(registry), store)
    assert registry.blobs[sha256(LARGE)] == LARGE
    assert (sent(registry, "POST"), sent(registry, "PATCH")) == (3, 2)


def test_an_upload_that_is_always_cut(registry: Registry, store: Store) -> None:
    registry.cut_uploads, registry.resumes = [5 << 20] * 50, False
    with pytest.raises(Failure) as failed:
        oci.push(held(store), at(registry), store)
    assert failed.value.code == "network" and len(registry.cut_uploads) > 40


def test_an_answer_to_the_end_of_an_upload_that_is_lost(registry: Registry, store: Store) -> None:
    def lost(method: str, path: str) -> Answer | None:
        if method == "PUT" and "/uploads/" in path and sha256(LARGE).partition(":")[2] in path:
            registry.blobs[sha256(LARGE)] = LARGE
            return Answer(404)
        return None

    registry.oddly = lost
    oci.push(held(store), at(registry), store)
    assert sent(registry, "PATCH") == 1


def test_an_upload_that_another_process_left(registry: Registry, store: Store) -> None:
    """It is continued; if what is there turns out to be something else, it begins anew."""
    for beginning in (LARGE[:5 << 20], b"x" * (5 << 20), LARGE + b"more", b"y" * len(LARGE)):
        registry.blobs.clear()
        registry.uploads["left"] = bytearray(beginning)
        key = f"upload {registry.url} ns/name {sha256(LARGE)}"
        with pytest.raises(KeyboardInterrupt), store.partial(key) as folder:
            (folder / "location").write_text(f"{registry.url}/v2/ns/name/blobs/uploads/left")
            raise KeyboardInterrupt
        oci.push(held(store), at(registry), store)
        assert registry.blobs[sha256(LARGE)] == LARGE


UPLOADS = {
    "no place": ("POST", "/uploads/", Answer(202), "registry-broken"),
    "a file": ("POST", "/uploads/", Answer(202, {"Location": "file:///tmp/x"}), "registry-broken"),
    "not allowed": ("POST", "/uploads/", Answer(403), "unauthorized"),
    "full": ("PUT", "/uploads/", Answer(413, body=b'{"errors": [{"code": "SIZE_INVALID"}]}'), "registry-refused"),
    "another digest": ("PUT", "/uploads/", Answer(201, {"Docker-Content-Digest": sha256(b"x")}), "registry-broken"),
    "lies about a blob": ("HEAD", "/blobs/", Answer(200, {"Docker-Content-Digest": sha256(b"x")}), "registry-broken"),
    "manifest refused": ("PUT", "/manifests/", Answer(400), "registry-refused"),
    "manifest renamed": ("PUT", "/manifests/", Answer(201, {"Docker-Content-Digest": sha256(b"x")}), "digest-mismatch"),
    "no registry": ("GET", "/v2/", Answer(404), "registry-missing"),
}


@pytest.mark.parametrize("vice", UPLOADS)
def test_hostile_uploads(registry: Registry, store: Store, vice: str) -> None:
    method, part, answer, code = UPLOADS[vice]
    registry.oddly = lambda used, path: answer if used == method and part in path else None
    with pytest.raises(Failure) as failed:
        oci.push(held(store, GGUF), at(registry), store)
    assert failed.value.code == code


def test_uploads_to_another_origin_carry_no_authorization(registry: Registry, store: Store, home: Path) -> None:
    registry.challenge = 'Basic realm="x"'
    registry.basic = f"Basic {auth('me', 'pass')['auth']}"
    login(home, auths={registry.host: auth("me", "pass")})
    with serving() as other:
        def oddly(method: str, path: str) -> Answer | None:
            if method != "POST" or not registry.seen[-1][2]:
                return None
            other.uploads[f"s{len(other.uploads)}"] = bytearray()
            place = f"{other.url}/v2/ns/name/blobs/uploads/s{len(other.uploads) - 1}"
            return Answer(202, {"Location": place})

        registry.oddly = oddly
        oci.push(held(store), at(registry), store)
        assert other.blobs[sha256(LARGE)] == LARGE
        assert all(not authorization for _, _, authorization in other.seen)

"""Debian's `docker-registry`, a real OCI registry, on loopback: found, or unpacked from its package without root."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

# user `someone`, password `right`, bcrypt with the lowest cost
HTPASSWD = "someone:$2b$04$vHznT3ip7MYyEJQFy9HGxOmgcYS2hdI80sbZGE9VrKRH5biOsoPma\n"


_DOWNLOAD = ["apt-get", "download", "docker-registry"]


def binary() -> str:
    """The program. Fails the test on Linux when it can't be had, skips elsewhere: there is no package there."""
    if named := os.environ.get("MODELKIT_DOCKER_REGISTRY") or shutil.which("docker-registry"):
        return named
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "modelkit-tests"
    program = cache / "docker-registry"
    if program.is_file():
        return str(program)
    if not sys.platform.startswith("linux"):
        pytest.skip("docker-registry is a Debian package; set MODELKIT_DOCKER_REGISTRY to a program of your own")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        try:
            if subprocess.run(_DOWNLOAD, cwd=folder, check=False, capture_output=True).returncode:
                # a new machine has no lists of packages yet
                sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
                subprocess.run([*sudo, "apt-get", "update"], check=False, capture_output=True)
                subprocess.run(_DOWNLOAD, cwd=folder, check=True, capture_output=True)
            package = next(Path(folder).glob("docker-registry_*.deb"))
            subprocess.run(["dpkg-deb", "-x", package.name, "x"], cwd=folder, check=True, capture_output=True)
            (Path(folder) / "x/usr/bin/docker-registry").replace(program)
        except (OSError, subprocess.CalledProcessError, StopIteration) as error:
            said = error.stderr.decode()[-500:] if isinstance(error, subprocess.CalledProcessError) else error
            pytest.fail("these tests need Debian's docker-registry: install the package, or set "
                        f"MODELKIT_DOCKER_REGISTRY to the program ({said})")
    return str(program)


@dataclass
class DockerRegistry:
    """One that runs. `log` has a line for every request."""

    host: str
    log: Path
    root: Path
    process: subprocess.Popen[bytes] = field(repr=False)

    def requests(self, method: str) -> int:
        """How many requests of a method it has answered."""
        return sum(1 for line in self.log.read_text().splitlines() if f'"{method} /v2/' in line)

    def blob(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self.root / "docker/registry/v2/blobs/sha256" / name[:2] / name / "data"

    def manifest(self, name: str, reference: str) -> tuple[str, bytes]:
        """The digest that it says, and the bytes, of a manifest."""
        request = urllib.request.Request(f"http://{self.host}/v2/{name}/manifests/{reference}", headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json"})
        with urllib.request.urlopen(request) as answer:
            return answer.headers["Docker-Content-Digest"], answer.read()


@contextmanager
def running(folder: Path, *, users: bool = False) -> Iterator[DockerRegistry]:
    """A registry that keeps what it has in `folder`; with `users` only `someone` may use it."""
    program, folder = binary(), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(5):  # another process may take the port before the registry does
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            host = f"127.0.0.1:{probe.getsockname()[1]}"
        config = {"version": 0.1, "log": {"level": "warn", "accesslog": {"disabled": False}},
                  "storage": {"filesystem": {"rootdirectory": str(folder / "data")}, "delete": {"enabled": True}},
                  "http": {"addr": host, "secret": "for tests"}}
        if users:
            (folder / "htpasswd").write_text(HTPASSWD)
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
        (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log,
                                       stderr=subprocess.STDOUT)
        try:
            if _ready(host, process):
                yield DockerRegistry(host, folder / "log", folder / "data", process)
                return
        finally:
            process.kill()
            process.wait()
    pytest.fail(f"docker-registry does not start: {(folder / 'log').read_text()[-500:]}")


def _ready(host: str, process: subprocess.Popen[bytes]) -> bool:
    while process.poll() is None:
        try:
            urllib.request.urlopen(f"http://{host}/v2/").close()
            return True
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        except OSError:
            time.sleep(0.02)
    return False

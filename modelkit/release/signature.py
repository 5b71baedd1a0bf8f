"""Detached signatures of records, by OpenSSH: `<record>.sig`, made and checked by `ssh-keygen -Y`.

Who may sign is in an allowed-signers file (`man ssh-keygen`, ALLOWED SIGNERS), `promotions/allowed_signers` unless
another is named. A signature is made over the record's bytes, so over its id and, by `prev`, all records before it.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from modelkit.failure import Failure

NAMESPACE = "modelkit.promotion"
_SECONDS = 60


@dataclass(frozen=True)
class Signers:
    """An allowed-signers file."""

    path: Path

    def signer(self, record: Path) -> str:
        """Who signed a record. Raises Failure `signature` when nobody did, or nobody who may."""
        signature = path_of(record)
        if not signature.is_file():
            raise Failure("signature", f"{record.name} is not signed", exit_code=1)
        found = _run("-Y", "find-principals", "-s", str(signature), "-f", str(self.path))
        names = found.stdout.decode(errors="replace").split("\n")[0].strip()
        if found.returncode != 0 or not names:
            raise Failure("signature", f"the signature of {record.name} is by nobody in {self.path.name}", exit_code=1)
        for name in names.split(","):
            done = _run("-Y", "verify", "-f", str(self.path), "-I", name, "-n", NAMESPACE, "-s", str(signature),
                        data=record.read_bytes())
            if done.returncode == 0:
                return name
        raise Failure("signature", f"the signature of {record.name} does not fit its bytes", exit_code=1)


def path_of(record: Path) -> Path:
    """Where a record's signature lies."""
    return record.with_name(f"{record.name}.sig")


def signers(root: Path, named: str | None = None) -> Signers | None:
    """The allowed signers: a named file, else those of the folder `promotions`, else None. Raises Failure."""
    path = Path(named) if named else root / "allowed_signers"
    if path.is_file():
        return Signers(path)
    if named:
        raise Failure("no-signers", f"{path} does not exist", hint="a line of it is: NAME ssh-ed25519 AAAA…")
    return None


def sign(record: Path, key: Path) -> Path:
    """Sign a record with an SSH key (its private file, or its public one where an agent has it). The signature's path.

    Raises Failure when ssh-keygen does not.
    """
    if not key.is_file():
        raise Failure("no-key", f"{key} does not exist", hint="--sign takes an SSH key's file, such as "
                      "~/.ssh/id_ed25519")
    signature = path_of(record)
    signature.unlink(missing_ok=True)
    done = _run("-Y", "sign", "-f", str(key), "-n", NAMESPACE, str(record))
    if done.returncode != 0 or not signature.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Failure("not-signed", f"{record.name} was written, and not signed", detail=tuple(said[-4:]),
                      hint=f"ssh-keygen -Y sign -f KEY -n {NAMESPACE} {record}")
    return signature


def _run(*words: str, data: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise Failure("no-ssh-keygen", "signatures are made and checked by ssh-keygen, which is not here",
                      hint="install OpenSSH's client")
    try:
        return subprocess.run([program, *words], input=data, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise Failure("not-signed", f"ssh-keygen did not answer within {_SECONDS} s",
                      hint="a key with a passphrase needs ssh-agent") from None

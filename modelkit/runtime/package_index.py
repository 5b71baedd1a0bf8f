"""Where Python packages come from on this machine: the user's own pip settings, spelled for uv and for pip.

uv does not read pip's settings, and an option on pip's command line replaces the environment's instead of adding to
it. So the settings are read once, here, and handed to either tool as a complete environment.
"""

from __future__ import annotations

import configparser
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

_MACHINES = Path("/etc/pip.conf")
_SECTIONS = ("global", "install")  # the later one wins, in whatever file it stands


@dataclass(frozen=True)
class PackageIndex:
    """Indexes and folders to install from. Empty fields mean the tool's own default."""

    index_url: str = ""
    extra_index_url: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False
    trusted_host: tuple[str, ...] = ()
    cert: str = ""
    client_cert: str = ""
    proxy: str = ""
    timeout: str = ""

    def with_folder(self, folder: Path) -> PackageIndex:
        """The same, with one more folder of wheels, asked first."""
        return replace(self, find_links=(str(folder), *self.find_links))

    def for_pip(self) -> dict[str, str]:
        """The environment that makes pip use exactly these settings, whatever its files say."""
        env = {"PIP_" + field.name.upper(): _text(getattr(self, field.name)) for field in fields(self)}
        return {name: value for name, value in env.items() if value}

    def for_uv(self, given: Mapping[str, str]) -> dict[str, str]:
        """The environment that makes uv use these settings; what the user already says to uv in `given` stays.

        pip takes the best version of all indexes while uv stops at the first index that knows the name. The pins are
        exact, so the difference would only show as a version that cannot be found: uv is told to do as pip does.
        """
        env = {
            "UV_FIND_LINKS": ",".join((*self.find_links, *filter(None, [given.get("UV_FIND_LINKS")]))),  # commas here
            "UV_INSECURE_HOST": given.get("UV_INSECURE_HOST") or " ".join(self.trusted_host),
            "SSL_CERT_FILE": given.get("SSL_CERT_FILE") or self.cert,
            "SSL_CLIENT_CERT": given.get("SSL_CLIENT_CERT") or self.client_cert,
            "ALL_PROXY": given.get("ALL_PROXY") or self.proxy,
            "UV_HTTP_TIMEOUT": given.get("UV_HTTP_TIMEOUT") or self.timeout,
        }
        if not any(given.get(name) for name in _UV_INDEXES):  # a user who told uv where to look meant that alone
            env |= {
                "UV_DEFAULT_INDEX": self.index_url,
                "UV_INDEX": " ".join(self.extra_index_url),
                "UV_NO_INDEX": "1" if self.no_index else "",
                "UV_INDEX_STRATEGY": "unsafe-best-match" if self.extra_index_url else "",
            }
        return {name: value for name, value in env.items() if value}


_NAMES = tuple(field.name for field in fields(PackageIndex))
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")


def users_index(environ: Mapping[str, str] | None = None) -> PackageIndex:
    """What `pip install` would use here: its `PIP_*` variables over its files."""
    environ = os.environ if environ is None else environ
    found: dict[str, str] = {}
    files = [_read(path) for path in config_files(environ)]
    for section in _SECTIONS:
        for file in files:
            found |= file.get(section, {})
    for name in _NAMES:
        if value := environ.get("PIP_" + name.upper()):
            found[name] = value
    return PackageIndex(
        index_url=found.get("index_url", ""),
        extra_index_url=tuple(found.get("extra_index_url", "").split()),
        find_links=tuple(_absolute(link) for link in found.get("find_links", "").split()),
        no_index=found.get("no_index", "").lower() in ("1", "true", "yes", "on", "y", "t"),
        trusted_host=tuple(found.get("trusted_host", "").split()),
        cert=found.get("cert", ""), client_cert=found.get("client_cert", ""),
        proxy=found.get("proxy", ""), timeout=found.get("timeout") or environ.get("PIP_DEFAULT_TIMEOUT", ""),
    )


def config_files(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """pip's files, the later ones speaking last: the machine's, the user's, the virtual environment's, a named one."""
    named = environ.get("PIP_CONFIG_FILE", "")
    if named == os.devnull:
        return ()  # pip's own way to say "no files"
    home = Path(environ.get("HOME") or Path.home())
    files = [Path(d) / "pip" / "pip.conf" for d in environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(os.pathsep) if d]
    files.append(_MACHINES)
    if not (named and Path(named).exists()):  # a named file stands in for the user's
        files.append(home / ".pip" / "pip.conf")
        files.append(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "pip" / "pip.conf")
    files.append(Path(environ.get("VIRTUAL_ENV") or sys.prefix) / "pip.conf")
    if named:
        files.append(Path(named))
    return tuple(files)


def _read(path: Path) -> dict[str, dict[str, str]]:
    """The index settings of one file by section; a file that cannot be read says nothing (pip will complain)."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}
    return {section: {name: value for key, value in parser.items(section)
                      if (name := key.replace("-", "_")) in _NAMES and value}
            for section in _SECTIONS if parser.has_section(section)}


def _absolute(link: str) -> str:
    """A folder by its full path: the tool runs elsewhere than the user stands."""
    return link if "://" in link else str(Path(link).expanduser().absolute())


def _text(value: str | bool | Iterable[str]) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    return value if isinstance(value, str) else " ".join(value)

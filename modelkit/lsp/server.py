"""The server itself: the protocol's requests, each answered by one function of this room.

Texts are sent whole, not in pieces: Modelfiles are small, and a library's idea of a line need not be ours. An edit is
checked as soon as the messages that have arrived are read, so that fast typing is checked once.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from modelkit import __version__
from modelkit.language.source import Source
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.diagnostics import diagnostics
from modelkit.lsp.positions import Positions

SETTLED = 0.005
"""Seconds after an edit before it is checked: what was typed meanwhile is checked with it."""


class ModelfileServer(LanguageServer):
    """Open Modelfiles by their URI, each analysed once a version."""

    def __init__(self) -> None:
        super().__init__("modelkit", __version__, text_document_sync_kind=types.TextDocumentSyncKind.Full)
        self._open: set[str] = set()
        self._analyses: dict[str, Analysis] = {}
        self._waiting: dict[str, asyncio.TimerHandle] = {}
        self.left_in_order = False

    def analysis(self, uri: str) -> Analysis:
        """The open file of that URI, as it is now. Raises JsonRpcInvalidParams for one that is not open."""
        if uri not in self._open:
            raise JsonRpcInvalidParams(f"{uri} is not open")
        document = self.workspace.get_text_document(uri)
        known = self._analyses.get(uri)
        if known is None or known.version != document.version or known.source.text != document.source:
            path = _path(uri)
            source = Source(str(path) if path is not None else "untitled.Modelfile", _scalar_values(document.source))
            encoding = types.PositionEncodingKind(self.workspace.position_encoding or "utf-16")
            known = Analysis(Positions(source, encoding), path.parent if path is not None else None, document.version)
            self._analyses[uri] = known
        return known

    def opened(self, uri: str) -> None:
        self._open.add(uri)
        self.changed(uri)

    def changed(self, uri: str) -> None:
        """Checks the file once nothing more of it has arrived for a moment."""
        self.forget(uri)
        self._waiting[uri] = asyncio.get_running_loop().call_later(SETTLED, self._publish, uri)

    def forget(self, uri: str) -> None:
        """What was known of the file holds no more."""
        self._analyses.pop(uri, None)
        if (waiting := self._waiting.pop(uri, None)) is not None:
            waiting.cancel()

    def closed(self, uri: str) -> None:
        self._open.discard(uri)
        self.forget(uri)
        self.text_document_publish_diagnostics(types.PublishDiagnosticsParams(uri, []))

    def changed_around(self) -> None:
        """Something beside the open files changed, such as a lock: all of them are checked again."""
        for uri in self._open:
            self.changed(uri)

    def watch(self) -> None:
        """Asks the client to tell when a lock changes, if it can: findings about engines depend on it."""
        workspace = self.client_capabilities.workspace
        watched = workspace.did_change_watched_files if workspace is not None else None
        if watched is not None and watched.dynamic_registration:
            options = types.DidChangeWatchedFilesRegistrationOptions([types.FileSystemWatcher("**/*.lock")])
            self.client_register_capability(types.RegistrationParams(
                [types.Registration("locks", types.WORKSPACE_DID_CHANGE_WATCHED_FILES, options)]))

    def _publish(self, uri: str) -> None:
        self._waiting.pop(uri, None)
        analysis = self.analysis(uri)
        self.text_document_publish_diagnostics(
            types.PublishDiagnosticsParams(uri, diagnostics(analysis, uri), analysis.version))

    @property
    def snippets(self) -> bool:
        """Whether the client knows snippets."""
        text = self.client_capabilities.text_document
        item = text.completion.completion_item if text is not None and text.completion is not None else None
        return bool(item is not None and item.snippet_support)


def _path(uri: str) -> Path | None:
    """Where the file lies; None for one that was never saved, or that lies nowhere on this machine."""
    found = to_fs_path(uri) if uri.startswith("file:") else None
    return Path(found) if found else None


def _scalar_values(text: str) -> str:
    """The text without lone surrogates, which JSON can carry and no file can; nothing moves."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

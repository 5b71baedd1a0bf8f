"""The server itself: the protocol's requests, each answered by one function of this room.

Texts are sent whole, not in pieces: Modelfiles are small, and a library's idea of a line need not be ours. An edit is
checked as soon as the messages that have arrived are read, so that fast typing is checked once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcInvalidParams
from pygls.lsp.server import LanguageServer
from pygls.uris import to_fs_path

from modelkit import __version__
from modelkit.language.source import Source
from modelkit.lsp import changes, names, outline
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.becomes import load_engines
from modelkit.lsp.colours import LEGEND, colours
from modelkit.lsp.completion import TRIGGERS, completions
from modelkit.lsp.diagnostics import diagnostics
from modelkit.lsp.hover import hover
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


def serve(stdin: BinaryIO, stdout: BinaryIO) -> int:
    """Answers one client until it leaves. The exit code is the protocol's: 0 if it said `shutdown` before, else 1."""
    _log_in_lines()
    made = server()
    made.start_io(stdin, stdout)
    return 0 if made.left_in_order else 1


class _Line(logging.Formatter):
    """A record as one line: what went wrong, without the way there."""

    def format(self, record: logging.LogRecord) -> str:
        cause = record.exc_info[1] if record.exc_info else None
        said = record.getMessage() if cause is None else f"{type(cause).__name__}: {cause}"
        return f"modelkit lsp: {said.splitlines()[0] if said else record.levelname}"


def _log_in_lines() -> None:
    """Editors show a server's stderr to people: no tracebacks there, and nothing of requests that were refused."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Line())
    handler.addFilter(lambda record: not (record.exc_info and isinstance(record.exc_info[1], JsonRpcException)))
    logging.getLogger().addHandler(handler)


def server() -> ModelfileServer:
    """A server with all of its features, not yet connected."""
    made = ModelfileServer()
    _add_documents(made)
    _add_words(made)
    _add_places(made)
    _add_changes(made)
    return made


def _add_documents(server: ModelfileServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: types.DidOpenTextDocumentParams) -> None:
        server.opened(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: types.DidChangeTextDocumentParams) -> None:
        server.changed(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: types.DidSaveTextDocumentParams) -> None:
        server.changed(params.text_document.uri)

    @server.feature(types.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: types.DidCloseTextDocumentParams) -> None:
        server.closed(params.text_document.uri)

    @server.feature(types.INITIALIZED)
    def ready(params: types.InitializedParams) -> None:
        server.watch()
        asyncio.get_running_loop().run_in_executor(None, load_engines)

    @server.feature(types.SHUTDOWN)
    def shutdown(params: None) -> None:
        server.left_in_order = True

    @server.feature(types.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def changed_around(params: types.DidChangeWatchedFilesParams) -> None:
        server.changed_around()


def _add_words(server: ModelfileServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_COMPLETION, types.CompletionOptions(trigger_characters=list(TRIGGERS)))
    def complete(params: types.CompletionParams) -> types.CompletionList:
        analysis = server.analysis(params.text_document.uri)
        found = completions(analysis, analysis.places.offset(params.position), snippets=server.snippets)
        return types.CompletionList(is_incomplete=False, items=found)

    @server.feature(types.TEXT_DOCUMENT_HOVER)
    def show(params: types.HoverParams) -> types.Hover | None:
        analysis = server.analysis(params.text_document.uri)
        said = hover(analysis, analysis.places.offset(params.position))
        if said is None:
            return None
        return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, said.text), analysis.places.range(said.span))


_Place = types.DefinitionParams | types.ReferenceParams | types.DocumentHighlightParams


def _add_places(server: ModelfileServer) -> None:
    def found(params: _Place) -> tuple[Analysis, int, list[names.Name]]:
        analysis = server.analysis(params.text_document.uri)
        offset = analysis.places.offset(params.position)
        name = names.at(analysis.document, offset)
        return analysis, offset, names.places(analysis.document, name) if name is not None else []

    @server.feature(types.TEXT_DOCUMENT_DEFINITION)
    def define(params: types.DefinitionParams) -> list[types.Location]:
        analysis, offset, places = found(params)
        if places:
            return _locations(analysis, params.text_document.uri, [name for name in places if name.gives])
        path = outline.file_at(analysis, offset)
        start = types.Position(0, 0)
        return [types.Location(path.absolute().as_uri(), types.Range(start, start))] if path is not None else []

    @server.feature(types.TEXT_DOCUMENT_REFERENCES)
    def refer(params: types.ReferenceParams) -> list[types.Location]:
        analysis, _, places = found(params)
        wanted = [name for name in places if params.context.include_declaration or not name.gives]
        return _locations(analysis, params.text_document.uri, wanted)

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def highlight(params: types.DocumentHighlightParams) -> list[types.DocumentHighlight]:
        analysis, _, places = found(params)
        return [types.DocumentHighlight(analysis.places.range(name.span), types.DocumentHighlightKind.Write
                                        if name.gives else types.DocumentHighlightKind.Read) for name in places]

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: types.DocumentSymbolParams) -> list[types.DocumentSymbol]:
        return outline.symbols(server.analysis(params.text_document.uri))

    @server.feature(types.TEXT_DOCUMENT_FOLDING_RANGE)
    def fold(params: types.FoldingRangeParams) -> list[types.FoldingRange]:
        return outline.folds(server.analysis(params.text_document.uri))

    @server.feature(types.TEXT_DOCUMENT_SEMANTIC_TOKENS_FULL, LEGEND)
    def colour(params: types.SemanticTokensParams) -> types.SemanticTokens:
        return colours(server.analysis(params.text_document.uri))

    @server.feature(types.TEXT_DOCUMENT_DOCUMENT_LINK)
    def link(params: types.DocumentLinkParams) -> list[types.DocumentLink]:
        return outline.links(server.analysis(params.text_document.uri))


def _locations(analysis: Analysis, uri: str, places: Sequence[names.Name]) -> list[types.Location]:
    return [types.Location(uri, analysis.places.range(name.span)) for name in places]


def _add_changes(server: ModelfileServer) -> None:
    @server.feature(types.TEXT_DOCUMENT_FORMATTING)
    def format(params: types.DocumentFormattingParams) -> list[types.TextEdit]:
        return changes.formatting(server.analysis(params.text_document.uri))

    kinds: list[types.CodeActionKind | str] = [types.CodeActionKind.QuickFix, changes.FIX_ALL]

    @server.feature(types.TEXT_DOCUMENT_CODE_ACTION, types.CodeActionOptions(code_action_kinds=kinds))
    def act(params: types.CodeActionParams) -> list[types.CodeAction]:
        analysis = server.analysis(params.text_document.uri)
        return changes.actions(analysis, params.text_document.uri, analysis.places.span(params.range),
                               params.context.only)

    @server.feature(types.TEXT_DOCUMENT_PREPARE_RENAME)
    def prepare(params: types.PrepareRenameParams) -> types.Range | None:
        analysis = server.analysis(params.text_document.uri)
        name = names.at(analysis.document, analysis.places.offset(params.position))
        return analysis.places.range(name.span) if name is not None else None

    @server.feature(types.TEXT_DOCUMENT_RENAME, types.RenameOptions(prepare_provider=True))
    def rename(params: types.RenameParams) -> types.WorkspaceEdit | None:
        analysis = server.analysis(params.text_document.uri)
        try:
            return changes.renamed(analysis, params.text_document.uri, analysis.places.offset(params.position),
                                   params.new_name)
        except names.CannotRename as refusal:
            raise JsonRpcException(str(refusal), code=types.LSPErrorCodes.RequestFailed) from None

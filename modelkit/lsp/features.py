"""The protocol's requests, each answered by one function of this room."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lsprotocol import types
from pygls.exceptions import JsonRpcException

from modelkit.lsp import changes, names, outline
from modelkit.lsp.analysis import Analysis
from modelkit.lsp.becomes import load_engines
from modelkit.lsp.colours import LEGEND, colours
from modelkit.lsp.completion import TRIGGERS, completions
from modelkit.lsp.hover import hover
from modelkit.lsp.server import ModelfileServer


def add_features(server: ModelfileServer) -> None:
    """Everything that a client can ask for."""
    _add_documents(server)
    _add_words(server)
    _add_places(server)
    _add_changes(server)


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

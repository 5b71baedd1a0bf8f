"""A real client, over stdin and stdout of the real command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_lsp
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from pytest_lsp import ClientServerConfig, LanguageClient, client_capabilities

from tests.unit.lsp.texts import MARK, SUPPORT

pytestmark = pytest.mark.asyncio(loop_scope="module")


WATCHED: list[str] = []
"""What the server asked the client to tell it."""


@pytest_lsp.fixture(
    scope="module", loop_scope="module",
    config=ClientServerConfig(server_command=[sys.executable, "-m", "modelkit", "lsp", "--stdio"]))
async def client(lsp_client: LanguageClient) -> AsyncIterator[None]:
    @lsp_client.feature(types.CLIENT_REGISTER_CAPABILITY)
    def register(params: types.RegistrationParams) -> None:
        WATCHED.extend(one.method for one in params.registrations)

    capabilities = client_capabilities("visual-studio-code")
    await lsp_client.initialize_session(types.InitializeParams(capabilities=capabilities))
    yield
    await lsp_client.shutdown_session()


class File:
    """A file that the client has open, and a place in it."""

    def __init__(self, client: LanguageClient, path: Path) -> None:
        self.client, self.path, self.uri, self.text, self.version = client, path, path.as_uri(), "", 0

    async def type(self, marked: str) -> types.Position:
        """Makes the file this text; the place that is marked in it, once the server has said what it thinks of it."""
        before, _, after = marked.partition(MARK)
        self.text, self.version = before + after, self.version + 1
        if self.version == 1:
            self.client.text_document_did_open(types.DidOpenTextDocumentParams(
                types.TextDocumentItem(self.uri, "modelfile", 1, self.text)))
        else:
            self.client.text_document_did_change(types.DidChangeTextDocumentParams(
                types.VersionedTextDocumentIdentifier(self.version, self.uri),
                [types.TextDocumentContentChangeWholeDocument(self.text)]))
        await self.client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        line = before.count("\n")
        return types.Position(line, len(before.rpartition("\n")[2].encode("utf-16-le")) // 2)

    @property
    def id(self) -> types.TextDocumentIdentifier:
        return types.TextDocumentIdentifier(self.uri)

    def at(self, range: types.Range) -> str:
        """The text in a range of UTF-16 units."""
        lines = self.text.split("\n")
        picked = lines[range.start.line : range.end.line + 1]
        picked[-1] = _cut(picked[-1], 0, range.end.character)
        picked[0] = _cut(picked[0], range.start.character, None)
        return "\n".join(picked)


def _cut(line: str, start: int, end: int | None) -> str:
    return line.encode("utf-16-le")[2 * start : None if end is None else 2 * end].decode("utf-16-le")


@pytest.fixture
def file(client: LanguageClient, tmp_path: Path) -> File:
    folder = tmp_path / "a b%20c é"  # what URIs spell otherwise
    folder.mkdir()
    return File(client, folder / "Modelfile")


async def test_what_is_wrong_is_said_as_it_is_typed(file: File) -> None:
    await file.type("FROM llama3.2:3b\nPARAMETER temprature 1\n")
    (found,) = file.client.diagnostics[file.uri]
    assert (found.code, found.source, found.severity) == ("unknown-parameter", "modelkit",
                                                          types.DiagnosticSeverity.Error)
    assert file.at(found.range) == "temprature"
    assert "did you mean `temperature`?" in found.message
    await file.type("FROM llama3.2:3b\nPARAMETER temperature 1\n")
    assert not file.client.diagnostics[file.uri]


async def test_places_are_counted_in_utf16_units(file: File) -> None:
    await file.type('FROM llama3.2:3b\nTEST "👩‍🚀 \t日本" {\n  USER 👋👋 hi\n  EXPECT 🚀 contians "x"\n}\n')
    found = {one.code: file.at(one.range) for one in file.client.diagnostics[file.uri]}
    assert found["unknown-assertion"] == "🚀"


async def test_the_engines_findings_come_too(file: File) -> None:
    await file.type("FROM llama3.2:3b\nSTAGE prod {\n  ENGINE vllm ==0.32\n  FLAG --no-such-flag\n}\n")
    assert "flag-not-in-engine" in {one.code for one in file.client.diagnostics[file.uri]}


async def test_a_closed_file_has_no_findings(file: File) -> None:
    await file.type("FROMM x\n")
    assert file.client.diagnostics[file.uri]
    file.client.text_document_did_close(types.DidCloseTextDocumentParams(file.id))
    await file.client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
    assert not file.client.diagnostics[file.uri]


async def test_completion(file: File) -> None:
    place = await file.type(f"FROM llama3.2:3b\nPARAMETER temp{MARK}\n")
    found: Any = await file.client.text_document_completion_async(types.CompletionParams(file.id, place))
    (item,) = [one for one in found.items if one.label == "temperature"]
    assert file.at(item.text_edit.range) == "temp"
    assert "How random" in item.documentation.value


async def test_hover(file: File) -> None:
    place = await file.type(f"FROM llama3.2:3b\nPARAMETER num_{MARK}ctx 8192\n")
    found = await file.client.text_document_hover_async(types.HoverParams(file.id, place))
    assert found is not None and found.range is not None and isinstance(found.contents, types.MarkupContent)
    assert file.at(found.range) == "num_ctx"
    assert "| vllm | `--max-model-len` = `8192` |" in found.contents.value


async def test_definition_references_and_highlights(file: File) -> None:
    place = await file.type(SUPPORT.replace("EXTENDS prod", f"EXTENDS pr{MARK}od"))
    found: Any = await file.client.text_document_definition_async(types.DefinitionParams(file.id, place))
    assert [(file.at(one.range), one.range.start.line) for one in found] == [("prod", 9)]
    context = types.ReferenceContext(include_declaration=True)
    used: Any = await file.client.text_document_references_async(types.ReferenceParams(context, file.id, place))
    assert [one.range.start.line for one in used] == [9, 14]
    shown: Any = await file.client.text_document_document_highlight_async(
        types.DocumentHighlightParams(file.id, place))
    assert [one.kind for one in shown] == [types.DocumentHighlightKind.Write, types.DocumentHighlightKind.Read]


async def test_a_path_leads_to_its_file(file: File) -> None:
    file.path.with_name("prompt.txt").write_text("Be brief.")
    place = await file.type(f"FROM llama3.2:3b\nSYSTEMFILE ./pro{MARK}mpt.txt\n")
    found: Any = await file.client.text_document_definition_async(types.DefinitionParams(file.id, place))
    links: Any = await file.client.text_document_document_link_async(types.DocumentLinkParams(file.id))
    assert [one.uri for one in found] == [one.target for one in links] == [
        file.path.with_name("prompt.txt").as_uri()]
    assert file.at(links[0].range) == "./prompt.txt"


async def test_rename(file: File) -> None:
    place = await file.type(SUPPORT.replace("ARG SIZE", f"ARG {MARK}SIZE"))
    range: Any = await file.client.text_document_prepare_rename_async(types.PrepareRenameParams(file.id, place))
    assert file.at(range) == "SIZE"
    edit: Any = await file.client.text_document_rename_async(types.RenameParams(file.id, place, "PARAMETERS"))
    assert [file.at(one.range) for one in edit.changes[file.uri]] == ["SIZE"] * 3
    assert {one.new_text for one in edit.changes[file.uri]} == {"PARAMETERS"}
    with pytest.raises(JsonRpcException, match="cannot be the name of a variable"):
        await file.client.text_document_rename_async(types.RenameParams(file.id, place, "no name"))


async def test_symbols_and_folds(file: File) -> None:
    await file.type(SUPPORT)
    found: Any = await file.client.text_document_document_symbol_async(types.DocumentSymbolParams(file.id))
    assert [one.name for one in found if one.children] == ["STAGE prod", "STAGE staging EXTENDS prod", "TEST greets"]
    folds: Any = await file.client.text_document_folding_range_async(types.FoldingRangeParams(file.id))
    assert [(one.start_line, one.end_line) for one in folds] == [(4, 5), (9, 12), (14, 15), (17, 19)]


async def test_colours(file: File) -> None:
    await file.type("FROM x\n")
    found = await file.client.text_document_semantic_tokens_full_async(types.SemanticTokensParams(file.id))
    assert found is not None and list(found.data) == [0, 0, 4, 0, 0, 0, 5, 1, 3, 0]


async def test_a_lock_that_changes_is_read_again(file: File) -> None:
    await file.type("FROM llama3.2:3b\nSTAGE prod {\n  ENGINE vllm >=0.31,<0.34\n  FLAG --enforce-eager\n}\n")
    before = [one.message for one in file.client.diagnostics[file.uri]]
    lock = file.path.with_name("Modelfile.lock")
    lock.write_text('[[stage]]\nname = "prod"\nengine = "0.31.0 cuda"\n')
    change = types.FileEvent(lock.as_uri(), types.FileChangeType.Created)
    file.client.workspace_did_change_watched_files(types.DidChangeWatchedFilesParams([change]))
    for _ in range(50):
        await file.client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        if [one.message for one in file.client.diagnostics[file.uri]] != before:
            break
    assert [one.message for one in file.client.diagnostics[file.uri]] != before
    assert WATCHED == [types.WORKSPACE_DID_CHANGE_WATCHED_FILES]


async def test_formatting(file: File) -> None:
    await file.type("from llama3.2:3b\nSTAGE prod {\nSERVE port 8585\n}\n")
    options = types.FormattingOptions(2, insert_spaces=True)
    edits: Any = await file.client.text_document_formatting_async(types.DocumentFormattingParams(file.id, options))
    assert "  SERVE port 8585" in "".join(one.new_text for one in edits)


async def test_code_actions(file: File) -> None:
    comment = "# modelkit: ignore[deprecated-parameter] as it was\n"
    await file.type(f"{comment}FROM llama3.2:3b\n")
    everything = types.Range(types.Position(0, 0), types.Position(1, 0))
    found: Any = await file.client.text_document_code_action_async(types.CodeActionParams(
        file.id, everything, types.CodeActionContext([])))
    fixes = [one for one in found if one.kind == types.CodeActionKind.QuickFix and one.is_preferred]
    assert [file.at(edit.range) for edit in fixes[0].edit.changes[file.uri]] == [comment]
    everywhere: Any = await file.client.text_document_code_action_async(types.CodeActionParams(
        file.id, everything, types.CodeActionContext([], only=[types.CodeActionKind.SourceFixAll])))
    assert [one.kind for one in everywhere] == ["source.fixAll.modelkit"]


async def test_a_file_that_was_never_saved(client: LanguageClient, tmp_path: Path) -> None:
    file = File(client, tmp_path)
    file.uri = "untitled:Untitled-1"
    place = await file.type(f"FROM llama3.2:3b\nTEMPLATEFILE {MARK}")
    found: Any = await client.text_document_completion_async(types.CompletionParams(file.id, place))
    assert not found.items


async def test_a_file_that_is_not_open_is_refused(file: File) -> None:
    with pytest.raises(JsonRpcException, match="is not open"):
        await file.client.text_document_hover_async(types.HoverParams(file.id, types.Position(0, 0)))


async def test_edits_that_come_together_are_checked_together(file: File) -> None:
    await file.type("FROM x:1\n")
    for version in range(2, 30):
        file.client.text_document_did_change(types.DidChangeTextDocumentParams(
            types.VersionedTextDocumentIdentifier(version, file.uri),
            [types.TextDocumentContentChangeWholeDocument("FROM x:1\n" + "PARAMETER top_k x\n" * version)]))
    while len(file.client.diagnostics[file.uri]) != 29:
        await file.client.wait_for_notification(types.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)


LENGTH = b"Content-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize(("sent", "code"), [
    (b"", 1),
    (b"hello\n\n\x00\xff", 1),
    (LENGTH % (5, b"{nope") + LENGTH % (3, b"[1]") + LENGTH % (44, b'{"jsonrpc": "2.0", "id": 9, "method": "shutd'), 1),
    (LENGTH % (46, b'{"jsonrpc": "2.0", "id": 1, "method": "none/x"}'[:46]), 1),
])
async def test_what_is_no_client_ends_it_without_a_traceback(sent: bytes, code: int) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "modelkit", "lsp", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate(sent)
    assert (process.returncode, b"Traceback" in said) == (code, False)

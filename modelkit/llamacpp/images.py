"""Images through llama.cpp's mtmd: the projector, what it makes of a picture, and that in the attention cache.

A projector is a GGUF file of its own, made for one model. It encodes an image, or each tile of one, as rows as wide as
the model's embeddings, which then stand in a prompt where tokens do. Facts are of mtmd as llama-cpp-python 0.3.36
carries it (`tools/mtmd/mtmd.h`), which says of itself that its API will change: `library` checks the version.
"""

from __future__ import annotations

import ctypes
import hashlib
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelkit.contract.errors import invalid
from modelkit.llamacpp.computing import ABORTED, DONE, NO_ROOM, LlamaError
from modelkit.llamacpp.context import Context
from modelkit.llamacpp.jobs import Image, ImageSpan
from modelkit.llamacpp.library import LOG, Model, low

KINDS = {b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"GIF8": "GIF"}
"""How the files begin that mtmd's decoder (stb_image) is given. It would take others, by other programs or guesses."""

SIDES = 64
"""One side of an image may be so many times the other. The sizes that projectors compute from more can be empty."""

_ROWS_KEPT = 64 * 2**20
"""Bytes of encoded images that are kept for the choices of a request, and for those who ask again."""

Seen = tuple[tuple[int, ...], tuple[ImageSpan, ...]]


class Projector:
    """A model's eyes. `read` is for any thread, everything else for the one that has the context."""

    def __init__(self, path: Path, model: Model, *, threads: int, gpu: bool = True) -> None:
        """Raises LlamaError for a file that is no projector, or another model's."""
        self._api = _api()
        params = self._api.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings = gpu, threads, False
        LOG.forget()
        with LOG.held_back():
            handle = self._api.mtmd_init_from_file(str(path).encode(), model.handle, params)
            if not handle:
                reason = " ".join(LOG.reason().split())
                raise LlamaError(f"the projector {path.name} does not fit {model.path.name}: {reason}")
        self.handle: Any = handle
        self._width: int = low.llama_model_n_embd_inp(model.handle)
        self._rows: OrderedDict[int, NDArray[np.float32]] = OrderedDict()
        if not self._api.mtmd_support_vision(handle):
            self.close()
            raise LlamaError(f"the projector {path.name} is not one for images")

    def close(self) -> None:
        """Frees the encoder, before its model; harmless twice."""
        if self.handle:
            self._api.mtmd_free(self.handle)
            self.handle = None

    def read(self, parts: Sequence[str | Image]) -> Seen:
        """A prompt's tokens and where its images are. Each of their positions has a negative id for a token: the same
        image at the same place among its like has the same one. Raises ContractError for what can't be decoded.
        """
        api, bitmaps = self._api, []
        try:
            given = (ctypes.POINTER(api.mtmd_input_part) * len(parts))()
            kept: list[Any] = []
            for index, part in enumerate(parts):
                if isinstance(part, str):
                    raw = part.encode("utf-8", "replace")
                    kept.append(api.mtmd_input_text(raw, len(raw), False, True))
                    one = api.mtmd_input_part(ctypes.pointer(kept[-1]), None)
                else:
                    bitmaps.append(self._bitmap(part))
                    one = api.mtmd_input_part(None, bitmaps[-1])
                kept.append(one)
                given[index] = ctypes.pointer(one)
            return self._chunks(given, len(parts))
        finally:
            for bitmap in bitmaps:
                api.mtmd_bitmap_free(bitmap)

    def _bitmap(self, image: Image) -> Any:
        """The decoded picture: an animation's first, without transparency."""
        if not any(image.data.startswith(begin) for begin in KINDS):
            raise invalid("messages", f"this engine reads images as {', '.join(KINDS.values())}, not this one's format")
        data = (ctypes.c_uint8 * len(image.data)).from_buffer_copy(image.data)
        with LOG.held_back():
            bitmap = self._api.mtmd_helper_bitmap_init_from_buf(self.handle, data, len(image.data), False)
        if not bitmap:
            raise invalid("messages", "an image of `messages` can't be decoded: its file is damaged")
        sides = sorted((self._api.mtmd_bitmap_get_nx(bitmap), self._api.mtmd_bitmap_get_ny(bitmap)))
        if sides[1] > SIDES * sides[0]:
            self._api.mtmd_bitmap_free(bitmap)
            raise invalid("messages", f"an image of {sides[1]} by {sides[0]} pixels is too narrow: one side may be "
                                      f"{SIDES} times the other")
        self._api.mtmd_bitmap_set_id(bitmap, image.digest.encode())
        return bitmap

    def _chunks(self, given: Any, count: int) -> Seen:
        api = self._api
        chunks = api.mtmd_input_chunks_init()
        try:
            with LOG.held_back():
                code = api.mtmd_tokenize_from_parts(self.handle, chunks, given, count, False)
                if code:
                    raise invalid("messages", f"an image of `messages` can't be prepared: {LOG.reason()}")
            prompt: list[int] = []
            spans: list[ImageSpan] = []
            seen: defaultdict[bytes, int] = defaultdict(int)
            for index in range(api.mtmd_input_chunks_size(chunks)):
                chunk = api.mtmd_input_chunks_get(chunks, index)
                if api.mtmd_input_chunk_get_type(chunk) == api.MTMD_INPUT_CHUNK_TYPE_TEXT:
                    size = ctypes.c_size_t()
                    tokens = api.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(size))
                    if low.LLAMA_TOKEN_NULL in tokens[: size.value]:
                        raise invalid("messages", "this model's vocabulary lacks a token that its projector writes "
                                                  "beside images")
                    prompt += tokens[: size.value]
                    continue
                digest = api.mtmd_input_chunk_get_id(chunk) or b""
                span = self._span(chunk, len(prompt), digest, seen[digest])
                seen[digest] += 1
                prompt += [span.id] * span.size
                spans.append(span)
            return tuple(prompt), tuple(spans)
        finally:
            api.mtmd_input_chunks_free(chunks)

    def _span(self, chunk: Any, start: int, digest: bytes, number: int) -> ImageSpan:
        api = self._api
        known = hashlib.sha256(b"%s %d" % (digest, number)).digest()
        span = ImageSpan(
            start, api.mtmd_input_chunk_get_n_tokens(chunk), api.mtmd_input_chunk_get_n_pos(chunk),
            id=-1 - int.from_bytes(known[:7], "big"), chunk=api.mtmd_input_chunk_copy(chunk),
            whole=bool(api.mtmd_decode_use_non_causal(self.handle, chunk)))
        weakref.finalize(span, api.mtmd_input_chunk_free, span.chunk)
        return span

    def look(self, context: Context, span: ImageSpan, position: int, sequence: int) -> int:
        """Encodes an image and computes it for a sequence from `position` on: DONE, NO_ROOM or ABORTED.

        After the last two a part of it may be in the memory. Raises LlamaError when it fails, and nothing else does.
        """
        if span.whole and span.size > context.batch_tokens:  # llama.cpp asserts
            raise LlamaError(f"an image of {span.size} tokens is more than the {context.batch_tokens} of a step")
        rows = self._encoded(span)
        end = low.llama_pos()
        with LOG.held_back():
            code = self._api.mtmd_helper_decode_image_chunk(
                self.handle, context.handle, span.chunk, rows.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), position,
                sequence, context.batch_tokens, ctypes.byref(end),
                self._api.mtmd_helper_post_decode_callback(), None)
            if code not in (DONE, NO_ROOM, ABORTED):
                raise LlamaError(f"llama.cpp failed to compute an image ({code}): {LOG.reason()}")
        return int(code)

    def _encoded(self, span: ImageSpan) -> NDArray[np.float32]:
        rows = self._rows.pop(span.id, None)
        if rows is None or len(rows) != span.size:
            with LOG.held_back():
                if self._api.mtmd_encode_chunk(self.handle, span.chunk):
                    raise LlamaError(f"the projector failed on an image: {LOG.reason()}")
            found = self._api.mtmd_get_output_embd(self.handle)
            rows = np.ctypeslib.as_array(found, (span.size, self._width)).copy()
        self._rows[span.id] = rows
        while len(self._rows) > 1 and sum(one.nbytes for one in self._rows.values()) > _ROWS_KEPT:
            self._rows.popitem(last=False)
        return rows


def _api() -> Any:
    """mtmd as llama-cpp-python has it, with our log. Raises LlamaError where that was built without it."""
    try:
        from llama_cpp import mtmd_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise LlamaError(f"this llama-cpp-python sees no images: it was built without mtmd ({error})") from None
    mtmd_cpp.mtmd_helper_log_set(LOG.callback, ctypes.c_void_p(0))
    return mtmd_cpp

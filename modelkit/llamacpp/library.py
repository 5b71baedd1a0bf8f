"""llama.cpp through llama-cpp-python's low-level API: is it the one we know, what it logs, models and adapters.

Structs and signatures change between releases without a word, and a wrong one is memory corruption, not an exception:
so the package is checked once, when this module is imported. A failed ggml assertion kills the process: callers of
this room meet a Python exception before llama.cpp meets a value that it would assert on. Contexts are in `context`.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import compress, repeat
from pathlib import Path
from typing import Any, NamedTuple

from modelkit.llamacpp import cores
from modelkit.llamacpp.computing import LlamaError, expect_gguf
from modelkit.llamacpp.config import KNOWN

cores.wait_politely(cores.usable_cores())  # here, since OpenMP reads it once, when llama.cpp is loaded

import llama_cpp.llama_cpp  # noqa: E402

low: Any = llama_cpp.llama_cpp
"""The low-level API. Untyped on purpose: its annotations promise Python values where ctypes wants its own."""

_NEEDED = (
    "llama_get_memory", "llama_memory_seq_rm", "llama_memory_seq_cp", "llama_memory_seq_pos_max", "llama_log_set",
    "llama_model_load_from_file", "llama_init_from_model", "llama_set_adapters_lora", "llama_set_abort_callback",
    "llama_vocab_is_eog", "llama_model_meta_key_by_index", "llama_sampler_init_penalties",
)
_CONTEXT_FIELDS = ("n_outputs_max", "flash_attn_type", "kv_unified", "swa_full", "ctx_other")
_MODEL_FIELDS = ("load_mode", "main_gpu", "progress_callback", "load_mtp")


def check(version: str, api: Any) -> None:
    """Raises LlamaError unless the API is the one that this room was written for."""
    try:
        number = tuple(int(part) for part in version.partition("+")[0].split(".")[:3])
    except ValueError:
        number = ()
    wanted = ".".join(map(str, KNOWN[0]))
    if not KNOWN[0] <= number < KNOWN[1]:
        raise LlamaError(f"llama-cpp-python {version} is not known to this engine; it needs {wanted}")
    missing = [name for name in _NEEDED if not hasattr(api, name)]
    missing += [name for name in _CONTEXT_FIELDS if not _has_field(api.llama_context_params, name)]
    missing += [name for name in _MODEL_FIELDS if not _has_field(api.llama_model_params, name)]
    if missing:
        raise LlamaError(f"llama-cpp-python {version} lacks {missing[0]}; install {wanted} again")
    arguments = len(api.llama_sampler_init_penalties.argtypes)
    if arguments != 5:
        raise LlamaError(f"llama-cpp-python {version} has penalties of {arguments} arguments, not 5; install {wanted}")


def _has_field(struct: Any, name: str) -> bool:
    return any(field[0] == name for field in struct._fields_)


class Log:
    """llama.cpp's log lines: warnings and errors go to stderr, and the last errors are kept for our own sentences.

    With `MODELKIT_LLAMA_LOG=info` in the environment what it says of its buffers and settings goes to stderr, too.
    """

    _CONTINUED, _INFO, _WARN, _ERROR = 5, 2, 3, 4

    def __init__(self) -> None:
        self._errors: deque[str] = deque(maxlen=8)
        self._level = 0
        self._held = False
        info = (self._INFO,) if os.environ.get("MODELKIT_LLAMA_LOG") == "info" else ()
        self._shown = (*info, self._WARN, self._ERROR)
        self.callback = low.llama_log_callback(self._line)  # llama.cpp keeps the address, so we keep the object

    def install(self) -> None:
        low.llama_log_set(self.callback, ctypes.c_void_p(0))

    def forget(self) -> None:
        self._errors.clear()

    @contextmanager
    def held_back(self) -> Iterator[None]:
        """Errors within are kept and not written: a full cache and an abort are none."""
        self.forget()
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def reason(self) -> str:
        """The first error line since `forget`, which names the cause; those after it say who passed it on."""
        return self._errors[0].strip() if self._errors else "it does not say why"

    def _line(self, level: int, text: bytes, _: int | None) -> None:
        said = text.decode("utf-8", "replace")
        if level == self._CONTINUED:
            level = self._level
            if level == self._ERROR and self._errors:
                self._errors[-1] += said
        elif level == self._ERROR and len(self._errors) < (self._errors.maxlen or 0):
            self._errors.append(said)
        self._level = level
        if level in self._shown and not (self._held and level != self._INFO):
            sys.stderr.write(said)


def on_abort(say: Callable[[str], None]) -> None:
    """Has `say` called with the reason when ggml gives up (a failed assertion), in the thread where it does.

    The process aborts when it returns.
    """
    from llama_cpp._ggml import libggml

    callback = _ABORT(lambda reason: say(Path(reason.decode("utf-8", "replace").strip()).name))
    libggml.ggml_set_abort_callback.argtypes, libggml.ggml_set_abort_callback.restype = [_ABORT], ctypes.c_void_p
    libggml.ggml_set_abort_callback(callback)
    _KEPT.append(callback)  # ggml has its address alone


_ABORT = ctypes.CFUNCTYPE(None, ctypes.c_char_p)
_KEPT: list[Any] = []

VERSION = str(llama_cpp.__version__)
check(VERSION, low)
LOG = Log()
LOG.install()
low.llama_backend_init()

_MMAP, _NO_MMAP = 1, 0
_SPLIT_NONE = 0


class Tokens(NamedTuple):
    """What a model says of its tokens; -1 for one that it has not."""

    pieces: tuple[bytes, ...]  # by id, control tokens shown
    control: frozenset[int]
    hidden: frozenset[int]  # no part of a text: control tokens and unknown ones
    ends: frozenset[int]  # they end a turn or a text
    bos: int
    eos: int
    eot: int
    adds_bos: bool
    adds_eos: bool


class Model:
    """Weights and vocabulary. Free it with `close`, after every context made of it."""

    def __init__(self, path: Path, *, gpu_layers: int = -1, main_gpu: int | None = None, use_mmap: bool = True,
                 vocabulary_only: bool = False, on_progress: Callable[[float], None] | None = None) -> None:
        """Loads a GGUF file; `on_progress` hears 0 to 1. Raises LlamaError."""
        expect_gguf(path)
        params = low.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.load_mode = _MMAP if use_mmap else _NO_MMAP
        params.vocab_only = vocabulary_only
        if main_gpu is not None:
            params.split_mode, params.main_gpu = _SPLIT_NONE, main_gpu
        heard = low.llama_progress_callback(lambda part, _: _go_on(on_progress, part))
        params.progress_callback = heard
        LOG.forget()
        handle = low.llama_model_load_from_file(str(path).encode(), params)
        if not handle:
            raise LlamaError(f"llama.cpp cannot load {path.name}: {LOG.reason()}")
        self.handle: Any = handle
        self.path = path
        self.vocab: Any = low.llama_model_get_vocab(handle)
        self.vocab_size: int = low.llama_vocab_n_tokens(self.vocab)
        self.trained_context: int = low.llama_model_n_ctx_train(handle)  # tokens
        self.embedding_size: int = low.llama_model_n_embd_out(handle)
        self.classes: int = low.llama_model_n_cls_out(handle)
        self.recurrent = bool(low.llama_model_is_recurrent(handle) or low.llama_model_is_hybrid(handle))
        self.has_encoder = bool(low.llama_model_has_encoder(handle))
        self.has_decoder = bool(low.llama_model_has_decoder(handle))
        self.metadata = _metadata(handle)
        self._adapters: dict[Path, Adapter] = {}

    def chat_template(self, name: str | None = None) -> str | None:
        """The model's own Jinja text: the default one, or the one of a name (`tool_use`)."""
        text = low.llama_model_chat_template(self.handle, name.encode() if name else None)
        return text.decode("utf-8", "replace") if text else None

    def adapter(self, path: Path) -> Adapter:
        """A LoRA adapter of these weights, loaded once. It is freed with the model. Raises LlamaError."""
        if path not in self._adapters:
            expect_gguf(path)
            LOG.forget()
            handle = low.llama_adapter_lora_init(self.handle, str(path).encode())
            if not handle:
                raise LlamaError(f"the adapter {path.name} does not fit {self.path.name}: {LOG.reason()}")
            self._adapters[path] = Adapter(handle, path)
        return self._adapters[path]

    def close(self) -> None:
        """Frees the weights; harmless twice."""
        if self.handle:
            self._adapters.clear()
            low.llama_model_free(self.handle)
            self.handle = self.vocab = None

    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Ids of a text; `add_special`: BOS and EOS where the model wants them, `parse_special`: control tokens too."""
        raw = text.encode("utf-8", "replace")
        room = len(raw) + 8
        for _ in range(2):
            ids = (low.llama_token * room)()
            count = low.llama_tokenize(self.vocab, raw, len(raw), ids, room, add_special, parse_special)
            if count >= 0:
                return list(ids[:count])
            room = -count
        raise LlamaError("llama.cpp cannot tokenize this text")

    def detokenize(self, ids: Sequence[int], show_special: bool) -> bytes:
        """The text of ids, which may end within a character."""
        for one in ids:
            self.expect_token(one)
        given = (low.llama_token * len(ids))(*ids)
        room = 16 * len(ids) + 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            count = low.llama_detokenize(self.vocab, given, len(ids), buffer, room, False, show_special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
        raise LlamaError("llama.cpp cannot write these tokens as text")

    def tokens(self) -> Tokens:
        """All that is known of the vocabulary's tokens. About 60 ms for 50,000 of them."""
        vocab, every = self.vocab, range(self.vocab_size)
        attributes = [*map(_quick(low.llama_vocab_get_attr, ctypes.c_int32), repeat(vocab), every)]
        ends = map(_quick(low.llama_vocab_is_eog, ctypes.c_bool), repeat(vocab), every)
        control = low.LLAMA_TOKEN_ATTR_CONTROL
        hidden = control | low.LLAMA_TOKEN_ATTR_UNKNOWN
        return Tokens(
            pieces=self._pieces(),
            control=frozenset(one for one, said in enumerate(attributes) if said & control),
            hidden=frozenset(one for one, said in enumerate(attributes) if said & hidden),
            ends=frozenset(compress(every, ends)),
            bos=low.llama_vocab_bos(vocab), eos=low.llama_vocab_eos(vocab), eot=low.llama_vocab_eot(vocab),
            adds_bos=bool(low.llama_vocab_get_add_bos(vocab)), adds_eos=bool(low.llama_vocab_get_add_eos(vocab)))

    def _pieces(self) -> tuple[bytes, ...]:
        """Every token's bytes, written side by side into one buffer; the few that are longer than usual one by one."""
        count, room = self.vocab_size, 48
        buffer = ctypes.create_string_buffer(count * room)
        start = ctypes.addressof(buffer)
        write = _quick(low.llama_token_to_piece, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32,
                       ctypes.c_bool)
        sizes = [*map(write, repeat(self.vocab), range(count), range(start, start + count * room, room), repeat(room),
                      repeat(0), repeat(True))]
        raw = buffer.raw
        return tuple([raw[at: at + size] if size >= 0 else self._piece(at // room)
                      for at, size in zip(range(0, count * room, room), sizes, strict=True)])

    def _piece(self, one: int) -> bytes:
        room = 256
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            count: int = low.llama_token_to_piece(self.vocab, one, buffer, room, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
        return b""

    def written(self, one: int) -> str:
        """How the vocabulary writes a token: `Ġthe`, `▁the`, `<0x0A>`. That is what Hugging Face calls a token."""
        self.expect_token(one)
        return str(low.llama_vocab_get_text(self.vocab, one).decode("utf-8", "replace"))

    def expect_token(self, one: int) -> None:
        """Raises LlamaError for an id that this vocabulary has not; llama.cpp would end the process."""
        if not 0 <= one < self.vocab_size:
            raise LlamaError(f"token id {one} is not in the vocabulary of {self.vocab_size} tokens")


class Adapter:
    """A LoRA adapter; it lives as long as its model."""

    def __init__(self, handle: Any, path: Path) -> None:
        self.handle = handle
        self.path = path


def _quick(function: Any, result: Any, *more: Any) -> Any:
    """A function of a vocabulary, a token and more that only reads: called without giving Python's lock away.

    Giving it away 100,000 times takes longer than the calls, above all while another thread imports.
    """
    address: Any = ctypes.cast(function, ctypes.c_void_p).value
    return ctypes.PYFUNCTYPE(result, ctypes.c_void_p, ctypes.c_int32, *more)(address)


def _go_on(on_progress: Callable[[float], None] | None, part: float) -> bool:
    if on_progress:
        on_progress(part)
    return True


def _metadata(handle: Any) -> dict[str, str]:
    """The model file's keys and values, each as text; long lists are cut by llama.cpp."""
    found = {}
    for index in range(low.llama_model_meta_count(handle)):
        key = _text(low.llama_model_meta_key_by_index, handle, index)
        found[key] = _text(low.llama_model_meta_val_str_by_index, handle, index)
    return found


def _text(ask: Callable[..., int], handle: Any, index: int) -> str:
    room = 1024
    for _ in range(2):
        buffer = ctypes.create_string_buffer(room)
        length = ask(handle, index, buffer, room)
        if length < room:
            return buffer.raw[: max(0, length)].decode("utf-8", "replace")
        room = length + 1
    return ""

"""One computation's state in llama.cpp: its attention cache, the batch it is given, the logits it leaves.

A context belongs to one thread. Positions of a sequence are without gaps: the next token of a sequence goes to
`Memory.end(sequence)`. Facts are of llama.cpp as llama-cpp-python 0.3.36 carries it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from modelkit.llamacpp.computing import ABORTED, DONE, NO_ROOM, LlamaError
from modelkit.llamacpp.library import LOG, Adapter, Model, low
from modelkit.llamacpp.room import SEQUENCES_AT_MOST

Pooling = Literal["none", "mean", "cls", "last", "rank"]
_POOLING: dict[Pooling | None, int] = {None: -1, "none": 0, "mean": 1, "cls": 2, "last": 3, "rank": 4}
FLASH = {None: -1, False: 0, True: 1}
KINDS = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "iq4_nl": 20, "bf16": 30}
"""ggml's numbers of the types that an attention cache can have (`enum ggml_type`)."""


class Context:
    """A model ready to compute, with `tokens` cells of attention cache that all its sequences share."""

    def __init__(self, model: Model, *, tokens: int, sequences: int, batch: int, physical_batch: int | None = None,
                 outputs: int | None = None, threads: int, threads_batch: int | None = None, kv_type: str = "f16",
                 flash_attention: bool | None = None, pooling: Pooling | None = None,
                 embeddings: bool = False) -> None:
        """`batch` tokens at most go into one `decode`, of which `outputs` leave logits; None: all may. Raises
        LlamaError."""
        if not 1 <= sequences <= SEQUENCES_AT_MOST:
            raise LlamaError(f"llama.cpp tells 1 to {SEQUENCES_AT_MOST} sequences apart, not {sequences}")
        if kv_type not in KINDS:
            raise LlamaError(f"an attention cache of type {kv_type} is not known; there are {', '.join(KINDS)}")
        if min(tokens, batch, threads) < 1:
            raise LlamaError("an attention cache, a batch and a number of threads are at least 1")
        params = low.llama_context_default_params()
        params.n_ctx, params.n_seq_max, params.kv_unified = tokens, sequences, True
        params.n_batch, params.n_ubatch = batch, min(batch, physical_batch or 512)
        params.n_outputs_max = max(outputs, sequences) if outputs else 0  # fewer than sequences are asserted on
        params.n_threads, params.n_threads_batch = threads, threads_batch or threads
        params.type_k = params.type_v = KINDS[kv_type]
        params.flash_attn_type = FLASH[flash_attention]
        params.embeddings, params.pooling_type = embeddings, _POOLING[pooling]
        params.no_perf = True
        with LOG.held_back():  # it warns of a context beyond the trained one, which a shared cache is not
            handle = low.llama_init_from_model(model.handle, params)
        if not handle:
            raise LlamaError(f"llama.cpp cannot make a context of {tokens} tokens: {LOG.reason()}")
        self.handle: Any = handle
        self.model = model
        self.tokens: int = low.llama_n_ctx(handle)  # cells: what was asked for, rounded up by llama.cpp
        self.sequences = sequences
        self.batch_tokens: int = low.llama_n_batch(handle)
        self.outputs = max(outputs, sequences) if outputs else self.batch_tokens
        self.pooling: int = low.llama_pooling_type(handle)
        self.memory = Memory(low.llama_get_memory(handle), sequences)
        self._stop = _Flag()
        low.llama_set_abort_callback(handle, self._stop.callback, self._stop.address)
        self._adapter: Adapter | None = None

    def batch(self, tokens: int | None = None) -> Batch:
        """An empty batch for `decode`, of `batch_tokens` at most."""
        return Batch(min(tokens or self.batch_tokens, self.batch_tokens), self.sequences, self.model.vocab_size)

    def decode(self, batch: Batch) -> int:
        """Computes a batch: DONE, NO_ROOM or ABORTED. Lets other Python threads run meanwhile.

        After ABORTED a part of the batch may be in the memory. Raises LlamaError when llama.cpp fails.
        """
        return self._compute(low.llama_decode, batch)

    def encode(self, batch: Batch) -> int:
        """The same without a cache, for models that are encoders. Raises LlamaError."""
        return self._compute(low.llama_encode, batch)

    def _compute(self, call: Any, batch: Batch) -> int:
        if batch.size == 0:
            return DONE
        if batch.size > self.batch_tokens:  # llama.cpp asserts
            raise LlamaError(f"a batch of {batch.size} tokens is more than the {self.batch_tokens} of this context")
        if batch.outputs > self.outputs:  # as well
            raise LlamaError(f"{batch.outputs} rows of logits are more than the {self.outputs} of this context")
        with LOG.held_back():
            code: int = call(self.handle, batch.struct())
        if code not in (DONE, NO_ROOM, ABORTED):
            raise LlamaError(f"llama.cpp failed to compute a batch ({code}): {LOG.reason()}")
        return code

    def abort(self) -> None:
        """From any thread: the computation that is running ends soon (on processors; GPUs finish their graph)."""
        self._stop.set(True)

    def resume(self) -> None:
        """Computations run to their end again."""
        self._stop.set(False)

    def logits(self, index: int) -> NDArray[np.float32]:
        """The logits of the batch's token `index`, which asked for output. A view: gone with the next `decode`."""
        found = low.llama_get_logits_ith(self.handle, index)
        if not found:
            raise LlamaError(f"token {index} of the last batch has no logits")
        return np.ctypeslib.as_array(found, (self.model.vocab_size,))

    def embedding(self, sequence: int) -> NDArray[np.float32]:
        """A copy of what pooling made of a sequence: a vector, or with pooling `rank` the classes' scores."""
        found = low.llama_get_embeddings_seq(self.handle, sequence)
        if not found:
            raise LlamaError(f"sequence {sequence} of the last batch has no embedding")
        size = self.model.classes if self.pooling == _POOLING["rank"] else self.model.embedding_size
        return np.ctypeslib.as_array(found, (max(1, size),)).copy()

    def use(self, adapter: Adapter | None) -> None:
        """What is computed next is computed with this adapter, or with the bare weights. Raises LlamaError."""
        if adapter is self._adapter:
            return
        handles = (low.llama_adapter_lora_p_ctypes * 1)(adapter.handle if adapter else None)
        if low.llama_set_adapters_lora(self.handle, handles, 1 if adapter else 0, (ctypes.c_float * 1)(1.0)):
            raise LlamaError(f"llama.cpp cannot use the adapter {adapter.path.name if adapter else ''}")
        self._adapter = adapter

    def close(self) -> None:
        """Frees the cache; harmless twice."""
        if self.handle:
            low.llama_free(self.handle)
            self.handle = None


class Memory:
    """The attention cache (or a recurrent model's states) by sequence. Positions are half open; no `end` is all."""

    def __init__(self, handle: Any, sequences: int) -> None:
        self._handle = handle  # None for encoders, which have no memory
        self._sequences = sequences

    def clear(self) -> None:
        """Forgets everything."""
        if self._handle:
            low.llama_memory_clear(self._handle, True)

    def remove(self, sequence: int, start: int = 0, end: int = -1) -> bool:
        """Forgets positions of a sequence. False: this memory can only forget it as a whole, and nothing changed."""
        self._expect(sequence)
        return self._handle is None or bool(low.llama_memory_seq_rm(self._handle, sequence, start, end))

    def copy(self, source: int, target: int, end: int) -> None:
        """Shares the first `end` positions of one sequence with an empty one. The cells are the same ones."""
        self._expect(source)
        self._expect(target)
        if self._handle and end > 0:
            low.llama_memory_seq_cp(self._handle, source, target, 0, end)

    def start(self, sequence: int) -> int:
        """The first position that is there; more than 0 where a sliding window moved on, -1 when there is none."""
        self._expect(sequence)
        return int(low.llama_memory_seq_pos_min(self._handle, sequence)) if self._handle else -1

    def end(self, sequence: int) -> int:
        """The position after the last one: where the next token goes."""
        self._expect(sequence)
        return int(low.llama_memory_seq_pos_max(self._handle, sequence)) + 1 if self._handle else 0

    def _expect(self, sequence: int) -> None:
        if not 0 <= sequence < self._sequences:  # llama.cpp asserts
            raise LlamaError(f"sequence {sequence} is not one of the context's {self._sequences}")


class Batch:
    """The tokens of one computation, in numpy arrays that llama.cpp reads where they are.

    `seq_id` of llama.cpp is a pointer for each token; ours point at one cell for each sequence.
    """

    def __init__(self, room: int, sequences: int, vocab_size: int) -> None:
        self.room = room
        self.size = self.outputs = 0
        self.token: NDArray[np.int32] = np.zeros(room, np.int32)
        self.position: NDArray[np.int32] = np.zeros(room, np.int32)
        self.output: NDArray[np.int8] = np.zeros(room, np.int8)
        self._sequences, self._vocab_size = sequences, vocab_size
        self._names: NDArray[np.int32] = np.arange(sequences, dtype=np.int32)
        self._counts: NDArray[np.int32] = np.ones(room, np.int32)
        self._pointers: NDArray[np.uint64] = np.zeros(room, np.uint64)
        self._first = self._names.ctypes.data
        self._struct = low.llama_batch()
        for name, array in (("token", self.token), ("pos", self.position), ("n_seq_id", self._counts),
                            ("seq_id", self._pointers), ("logits", self.output)):
            kind = dict(low.llama_batch._fields_)[name]
            setattr(self._struct, name, ctypes.cast(array.ctypes.data, kind))

    def clear(self) -> None:
        self.size = self.outputs = 0

    def add(self, tokens: Sequence[int], position: int, sequence: int, outputs: int) -> int:
        """Appends tokens of a sequence; the last `outputs` of them leave logits. The index of the first one.

        Raises LlamaError for what llama.cpp would answer with an assertion.
        """
        start, end = self.size, self.size + len(tokens)
        if end > self.room or not 0 <= sequence < self._sequences:
            raise LlamaError(f"a batch of {self.room} tokens has no room for {end}, or {sequence} is no sequence of it")
        ids = self.token[start:end]
        ids[:] = tokens
        if len(tokens) and (int(ids.min()) < 0 or int(ids.max()) >= self._vocab_size):
            raise LlamaError(f"a token id is not in the vocabulary of {self._vocab_size} tokens")
        self.position[start:end] = np.arange(position, position + len(tokens), dtype=np.int32)
        self._pointers[start:end] = self._first + 4 * sequence
        self.output[start:end] = 0
        if outputs:
            self.output[end - outputs:end] = 1
        self.size, self.outputs = end, self.outputs + outputs
        return start

    def struct(self) -> Any:
        """The `llama_batch` of what is in it; valid while the batch is not changed."""
        self._struct.n_tokens = self.size
        return self._struct


class _Flag:
    """A yes or no that llama.cpp asks for between the nodes of a graph, without Python and its lock.

    `bool (*)(void *)` is asked with the address of a text; C's `strlen` answers 0, which is false, for the empty one
    and 1 for a text of one character.
    """

    def __init__(self) -> None:
        self._text = ctypes.create_string_buffer(2)
        self._strlen = ctypes.CDLL(None).strlen
        self.callback = ctypes.cast(self._strlen, low.ggml_abort_callback)
        self.address = ctypes.c_void_p(ctypes.addressof(self._text))

    def set(self, value: bool) -> None:
        self._text[0] = b"\x01" if value else b"\x00"

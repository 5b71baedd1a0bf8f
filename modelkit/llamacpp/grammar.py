"""What an answer must look like: JSON, a regular expression, a choice, a grammar; by llguidance, a backend of vLLM.

Texts mean what they mean there (vLLM 0.32, `v1/structured_output/backend_guidance.py`, as `engines.vllm_words` starts
it): JSON has no blanks between its parts, since small models that may write blanks go on writing them; regular
expressions are Rust's and fit the whole answer; grammars are Lark (llguidance's, with `start`) or GBNF (llama.cpp's,
with `root`).
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from modelkit.contract.errors import ContractError, invalid

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLParserLimits, LLTokenizer

Kind = Literal["json_object", "json_schema", "regex", "choice", "grammar"]

CACHED = 64
"""Compiled grammars that are kept, those that were used last."""

_BITS: NDArray[np.float32] = np.where(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little") == 1, 0.0, -np.inf,
).astype(np.float32)
"""For each byte of a mask what it adds to eight logits: nothing where a token is allowed."""


class Vocabulary(Protocol):
    """What is asked of the model's tokens."""

    size: int
    pieces: tuple[bytes, ...]
    control: frozenset[int]
    ends: frozenset[int]
    bos: int | None
    eos: int | None
    eot: int | None

    def tokenize(self, text: str, add_special: bool = True, parse_special: bool = True) -> list[int]: ...


def compiled(kind: Kind, value: Any, param: str, vocabulary: Vocabulary | None = None) -> str:
    """llguidance's form of a grammar that works. Raises ContractError naming `param` for one that does not.

    `value` is the schema (an object or its text), the expression, the list of texts, or the grammar's text; a
    `json_object` has none. Grammars can name special tokens (`<|im_end|>`) where the vocabulary is given. It takes
    about a millisecond, some hundred for the largest that llguidance accepts, and other threads run meanwhile; the
    first one with a vocabulary takes 0.3 s more.
    """
    from llguidance import LLMatcher

    try:
        grammar = _MAKERS[kind](value)
    except (ValueError, TypeError, RecursionError) as error:
        raise _refused(kind, param, str(error)) from None
    tokenizer = tokenizer_of(vocabulary) if vocabulary is not None else None
    problem = LLMatcher.validate_grammar(grammar, tokenizer, limits=_limits())
    if not problem and tokenizer is not None:
        trial = LLMatcher(tokenizer, grammar, log_level=0, limits=_limits())
        trial.compute_bitmask()  # some that are valid allow no answer at all
        problem = trial.get_error()
    if problem:
        raise _refused(kind, param, problem)
    return grammar


_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_PARTS = ("items", "prefixItems", "contains", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "propertyNames",
          "additionalItems", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")


def _closed(schema: Any) -> Any:
    """The schema, whose objects have the properties that they name and no others unless they say so: what vLLM's
    backends take a schema for (guidance with `disable_additional_properties`, as we start it, and xgrammar).

    >>> _closed({"type": "object", "properties": {"a": {}}})
    {'type': 'object', 'properties': {'a': {}}, 'additionalProperties': False}
    """
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: {key: _closed(one) for key, one in part.items()} if name in _MAPS and isinstance(part, dict)
            else _closed(part) if name in _PARTS else part for name, part in schema.items()}
    if isinstance(made.get("properties"), dict) or isinstance(made.get("patternProperties"), dict):
        made.setdefault("additionalProperties", False)
    return made


def _json(schema: Any) -> str:
    from llguidance import LLMatcher

    text = json.dumps(_closed(json.loads(schema) if isinstance(schema, str) else schema))
    made: str = LLMatcher.grammar_from_json_schema(text, defaults={"whitespace_flexible": False})
    return made


def _of(form: str) -> Callable[[Any], str]:
    def make(value: Any) -> str:
        from llguidance import grammar_from

        made: str = grammar_from(form, value if isinstance(value, str) else json.dumps(value))  # type: ignore[arg-type]
        return made

    return make


_MAKERS: dict[Kind, Callable[[Any], str]] = {
    "json_object": lambda _: _json({"type": "object"}),
    "json_schema": _json,
    "regex": _of("regex"),
    "choice": _of("choice"),
    "grammar": _of("grammar"),
}

_NAMES = {"json_object": "JSON object", "json_schema": "JSON schema", "regex": "regular expression",
          "choice": "choice", "grammar": "grammar"}


def _refused(kind: Kind, param: str, problem: str) -> ContractError:
    return invalid(param, f"`{param}` cannot be used as a {_NAMES[kind]}: {_short(problem)}")


def _short(problem: str) -> str:
    """llguidance's words on one line, without its state."""
    reason = " ".join(problem.partition("\n<state>")[0].split())
    return reason if len(reason) <= 300 else reason[:299] + "…"


def _limits() -> LLParserLimits:
    """llguidance's own, which are vLLM's; but a grammar gets no more than some 100 MB for its states."""
    from llguidance import LLParserLimits

    return LLParserLimits(max_lexer_states=50_000, verbose_errors=False)


_tokenizers: WeakKeyDictionary[Any, LLTokenizer] = WeakKeyDictionary()
_making = threading.Lock()


def tokenizer_of(vocabulary: Vocabulary) -> LLTokenizer:
    """llguidance's view of a vocabulary, made once: 0.2 s for 50,000 tokens, 1 s for 150,000."""
    with _making:
        if vocabulary not in _tokenizers:
            from llguidance import LLTokenizer, TokenizerWrapper

            ends = [one for one in (vocabulary.eos, vocabulary.eot) if one is not None][:1] or sorted(vocabulary.ends)
            _tokenizers[vocabulary] = LLTokenizer(TokenizerWrapper(_Tokens(vocabulary)), n_vocab=vocabulary.size,
                                                  eos_token=ends)
        return _tokenizers[vocabulary]


class _Tokens:
    """A vocabulary under the names that llguidance reads."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.tokens = list(vocabulary.pieces)
        self.special_token_ids = sorted(vocabulary.control)
        self.eos_token_id, self.bos_token_id = vocabulary.eos, vocabulary.bos
        self._tokenize = vocabulary.tokenize

    def __call__(self, text: bytes | str) -> list[int]:
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        return self._tokenize(said, add_special=False, parse_special=False)


class Grammars:
    """The compiled grammars of one model: each is made once, in a thread of its own."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._worker = ThreadPoolExecutor(1, "grammars")
        self._made: OrderedDict[str, Future[LLMatcher]] = OrderedDict()

    def warm(self) -> None:
        """Makes what the first grammar needs, before there is one."""
        self._worker.submit(tokenizer_of, self._vocabulary)

    def matcher(self, grammar: str, after: Sequence[int] = ()) -> Matcher:
        """A new answer's matcher for a grammar of `compiled`; see there. Returns at once."""
        made = self._made.get(grammar)
        if made is None:
            made = self._made[grammar] = self._worker.submit(self._make, grammar)
            if len(self._made) > CACHED:
                self._made.popitem(last=False)
        self._made.move_to_end(grammar)
        return Matcher(made, partial(self._anew, grammar), self._vocabulary.ends, after)

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _anew(self, grammar: str) -> LLMatcher:
        """Made once more: copies share their lexer, and what all answers together taught it can become too much."""
        fresh = self._make(grammar)
        made: Future[LLMatcher] = Future()
        made.set_result(fresh)
        self._made[grammar] = made
        return fresh

    def _make(self, grammar: str) -> LLMatcher:
        from llguidance import LLMatcher

        return LLMatcher(tokenizer_of(self._vocabulary), grammar, log_level=0, limits=_limits())


class Matcher:
    """What may follow in one answer. It belongs to one thread.

    With `after`, the grammar holds behind the first of those tokens that the answer has; the token itself is free, and
    so is an answer that has none. When the grammar allows nothing more, only the end of the answer is allowed.
    """

    def __init__(self, made: Future[LLMatcher], anew: Callable[[], LLMatcher], ends: frozenset[int],
                 after: Sequence[int] = ()) -> None:
        self._made, self._anew = made, anew
        self._said: list[int] = []
        self._own: LLMatcher | None = None
        self._ends = ends
        self._after = frozenset(after)
        self._begun = not after

    @property
    def ready(self) -> bool:
        """Whether asking does not wait for the grammar to be made."""
        return self._made.done()

    @property
    def holds(self) -> bool:
        """Whether the next token is bound by the grammar."""
        return self._begun

    def is_stopped(self) -> bool:
        """Whether only the end of the answer may follow."""
        return self._begun and bool(self._matcher().is_stopped())

    def admissible(self, tokens: Sequence[int]) -> int:
        """How many of these tokens may follow one after the other. A few microseconds each."""
        matcher = self._matcher()
        if matcher.is_stopped():
            return int(len(tokens) > 0 and tokens[0] in self._ends)
        return int(matcher.validate_tokens(list(tokens)))

    def mask(self, scores: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
        """`out`, with the logits of the tokens that are allowed now, and -inf for the others.

        Where the grammar leaves one text only, that is its usual tokens alone: fewer than `admissible` lets through.
        Raises ContractError when the grammar has become too much work to follow.
        """
        matcher = self._matcher()
        allowed = matcher.compute_bitmask()
        if matcher.is_error():
            self._own = matcher = self._anew().deep_copy()
            matcher.consume_tokens(self._said)
            allowed = matcher.compute_bitmask()
        if matcher.is_error():
            problem = _short(matcher.get_error())
            raise ContractError(400, "invalid_value", f"the grammar became too much work: {problem}")
        bias = _BITS.take(np.frombuffer(allowed, np.uint8), axis=0).reshape(-1)[: len(scores)]
        return np.add(scores[: len(bias)], bias, out=out)

    def accept(self, token: int) -> None:
        """The answer goes on with this token."""
        if self._begun:
            matcher = self._matcher()
            if not matcher.is_stopped() or matcher.is_error():
                self._said.append(token)
                matcher.consume_token(token)
        elif token in self._after:
            self._begun = True

    def rollback(self, tokens: int) -> None:
        """Takes back the last `tokens` that were accepted while the grammar held."""
        self._matcher().rollback(tokens)
        del self._said[len(self._said) - tokens:]

    def _matcher(self) -> LLMatcher:
        if self._own is None:
            self._own = self._made.result().deep_copy()
        return self._own

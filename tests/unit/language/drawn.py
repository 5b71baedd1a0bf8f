"""Modelfiles drawn at random: good ones in every untidy layout, words of the tables in any order, noise, and mutations.

`random` may be hypothesis's own, which makes what fails small. Values come from the tables, so a new row is drawn too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from modelkit.language import grammar
from modelkit.language.assertions import ASSERTIONS
from modelkit.language.engine_words import ENGINES, PLATFORMS
from modelkit.language.examples import EXAMPLES
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.kinds import Kind, Wrong
from modelkit.language.lexer import OLLAMA_WORDS
from modelkit.language.metrics import METRICS
from modelkit.language.parameters import DEPRECATED, PARAMETERS, REMOVED, SYNONYMS
from modelkit.language.policies import POLICIES
from modelkit.language.quantization import PRECISIONS
from modelkit.language.serve import SERVE_KEYS, SERVE_SYNONYMS
from tests.unit.language.texts import OUR_PIECES

GOLDEN = Path(__file__).parents[2] / "golden"
SEEDS = [
    *(example.bad for example in EXAMPLES.values()), *(example.good for example in EXAMPLES.values()),
    *(p.read_bytes().decode() for p in sorted((GOLDEN / "errors").glob("*.modelfile"))),
    *(p.read_bytes().decode() for p in sorted(GOLDEN.parents[1].glob("examples/*/Modelfile"))),
    *(case["text"] for line in (GOLDEN / "syntax/ollama_cases.jsonl").read_text().splitlines()
      if "text" in (case := json.loads(line))),
]
"""What mutations start from: everything that the project has."""

_VALUES = ("0", "1", "2", "-1", "8", "0.5", ".5", "1e-1", "4096", "true", "False", "auto", "off", "5m", "500ms", "90%",
           "1.5GB", "25 tok/s", "env:KEY", "file:key.txt", "localhost", "127.0.0.1", "hermes", "chat", "fp8", "L4",
           "high", "mean", "a stop", "<|im_end|>", "### User:")


def _good(kind: Kind) -> list[str]:
    return [value for value in _VALUES if not isinstance(kind.read(value), Wrong)]


PAIRS = {
    "PARAMETER": {name: _good(row.kind) for name, row in PARAMETERS.items()},
    "SERVE": {name: _good(row.kind) for name, row in SERVE_KEYS.items()},
}
GATES = [f"{name} {op} {value}" for name, row in METRICS.items() for value in _good(row.kind) for op in ("<=", ">=")]
OPERANDS: dict[str, Sequence[str]] = {
    "FROM": ("llama3.2:3b", "hf.co/org/repo:Q4_K_M", "./my  model.gguf", "C:\\m.gguf", "org/name:1"),
    "NAME": ("support", "team/support:2"), "REQUIRES": ("0.14.0", "v1.2"), "DRAFT": ("./draft.gguf",),
    "RENDERER": ("qwen3.5",), "PARSER": ("qwen3.5",), "PLATFORM": ("process", "compose", "kubernetes"),
    "ADAPTER": ("./tone.gguf", "./a b.gguf AS kind", "./t.gguf  as  other"), "POLICY": tuple(POLICIES),
    "QUANTIZE": (*(row.name for row in PRECISIONS.values() if not row.needs_imatrix), "auto", "auto  >= Q4_K_M",
                 "auto speed  >= 20 tok/s", "IQ2_M  imatrix a  b.dat"),
    "ENGINE": tuple(f"{name}{v}" for name in ENGINES for v in ("", " >=0.1", "   >=0.1,  <0.9")),
    "FLAG": ("--enforce-eager", "--seed   3", "-c 1", '--a "x  y"', "--b=1  2"),
    "UNSET": ("SYSTEM", "PARAMETER  stop", "serve port", "POLICY locked", "FLAG"),
    "TRY": ("QUANTIZE Q4_K_M  Q8_0", "PARAMETER temperature 0   0.5", "SERVE max_concurrency 1 8"),
    "ARG": ("SIZE 3b", "SIZE"), "SYSTEMFILE": ("a.txt",), "TEMPLATEFILE": ("a.jinja",), "TOOLS": ("tools.json",),
    "REPEAT": ("5", "5  PASS   4"), "TEMPLATE": ("{% for m in messages %}{{ m.content }}{% endfor %}",),
}
TESTS = (*(row.example.removeprefix("EXPECT ") for row in ASSERTIONS.values()),
         'not   contains "a  b"', "regex  /a  b/")
WORDS = sorted({
    *INSTRUCTIONS, *PARAMETERS, *DEPRECATED, *REMOVED, *SYNONYMS, *SERVE_KEYS, *SERVE_SYNONYMS, *ENGINES, *PLATFORMS,
    *PRECISIONS, *METRICS, *ASSERTIONS, *POLICIES, *_VALUES, "experiment", "dev", "prod", "EXTENDS", "AS", "PASS",
    "not", "user", "system", "assistant", "{", "}", '"', '"""', "${X}", "{%", "{{ .Prompt }}", "#", "=", ">=", "<",
    "nan", "1e9999", "9" * 400, "--flag", "hf_" + "a" * 30, "/home/me/m.gguf", "# modelkit: ignore[inline-comment] why",
})
LINES = ("", "  two  blanks", "# no comment", "}", "FROM y", "STAGE dev {", 'a "b" c', "\ttab ",
         "\u8bed\U0001f469\u200d", "PARAMETER stop x", "caf\u00e9\u0301", "\u00a0", "{{ .Prompt }}", "\\n", "''",
         "x" * 90)
BLANKS = (" ", " ", " ", "  ", "\t", " \t ")
DELETED = ("\u00a0", "\u200b", "\ufeff", "\x0c", "\x00")
ENDS = ("\n", "\n", "\n", "\r\n", "\r")
COMMENTS = ("# c", "#c", "#", "#  two  blanks \t", "# caf\u00e9 \U0001f469", "#FROM x", "# {", "# \u00a0")
TEXTS = frozenset({"SYSTEM", "LICENSE", "MESSAGE", "USER", "ASSISTANT", "TOOL"})
POSSIBLE = {row.keyword for row in INSTRUCTIONS.values() if row.effective or not row.essential}
INSIDE = {place: sorted((words & POSSIBLE) - {"STAGE", "TEST", "FROM", "TRY", "TEMPLATE"})
          for place, words in grammar.allowed().items()}
OLLAMA = sorted(set(OLLAMA_WORDS) - {"FROM"})
CHARACTERS = ("\t\n\r\"#{}\\'=: \u00a0\u200b\u200d\u2028\ufeff\ufffd\x00\x0c\x7f\u0301\u8bed\U0001f469"
              "\U000e0001\U0010fffd")


class Drawer:
    """Draws texts, one at a call."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self._end = "\n"

    def pick(self, choices: Sequence[str]) -> str:
        return choices[self.random.randrange(len(choices))]

    def few(self, most: int, draw: Callable[[], str]) -> list[str]:
        return [draw() for _ in range(self.random.randrange(most + 1))]

    def chance(self, of: int) -> bool:
        return self.random.randrange(of) == of - 1

    def good(self, most: int = 8) -> str:
        """A file that says nothing wrong by itself, in an untidy layout."""
        self._end = self.pick(ENDS)
        stages = ["dev", "prod", "experiment", "canary  EXTENDS prod"][: max(0, self.random.randrange(7) - 2)]
        blocks = [self._block("stage", "STAGE", name) for name in stages]
        blocks += [self._block("test", "TEST", f'"test  {index}"') for index in range(self.random.randrange(3) // 2)]
        lines = self.few(most, lambda: self._line("file"))
        lines.insert(self.random.randrange(len(lines) + 1), self._instruction("FROM", "file"))
        return self._joined([*lines, *blocks])

    def ollama(self, most: int = 6) -> str:
        """A file in Ollama's own words, good or nearly."""
        self._end = self.pick(ENDS)
        lines = self.few(most, lambda: self._instruction(self.pick(OLLAMA), "file"))
        lines.insert(0, self._instruction("FROM", "file"))
        text = self._joined(lines)
        return self.mutated(text) if self.chance(2) else text

    def words(self, most: int = 10) -> str:
        """Words of the tables, in any order, in lines and blocks that may be whole."""
        lines = self.few(most, lambda: " ".join([self.pick(WORDS), *self.few(4, lambda: self.pick(WORDS))]))
        if self.chance(2):
            lines.insert(0, "FROM x:1")
        if self.chance(3):
            lines.insert(len(lines) // 2, f"{self.pick(('STAGE', 'TEST'))} {self.pick(WORDS)} {{")
            lines.append("}")
        return "\n".join(lines)

    def pieces(self, most: int = 25) -> str:
        """What the rules for blanks, quotes and line ends are about, in every order."""
        return "".join(self.few(most, lambda: self.pick(OUR_PIECES)))

    def noise(self, most: int = 60) -> str:
        """Any characters, mostly those that some rule is about."""
        return "".join(self.few(most, self._character))

    def mutated(self, text: str | None = None) -> str:
        """A text with a few parts of it lost, doubled, swapped or put in."""
        text = self.pick(SEEDS) if text is None else text
        for _ in range(self.random.randrange(1, 4)):
            at = self.random.randrange(len(text) + 1)
            size = self.random.randrange(1, 12)
            match self.random.randrange(5):
                case 0:
                    text = text[:at] + text[at + size :]
                case 1:
                    text = text[: at + size] + text[at:]
                case 2:
                    text = text[:at] + self.pick(OUR_PIECES) + text[at:]
                case 3:
                    text = text[:at] + self._character() + text[at + 1 :]
                case 4:
                    other = self.pick(SEEDS)
                    text = text[:at] + other[self.random.randrange(len(other) + 1) :]
        return text[:2000]

    def _character(self) -> str:
        if self.chance(8):
            point = self.random.randrange(0x110000)
            return chr(point) if not 0xD800 <= point < 0xE000 else "\ufffd"
        return self.pick(CHARACTERS) if self.chance(2) else chr(32 + self.random.randrange(95))

    def _joined(self, lines: Sequence[str]) -> str:
        """The lines, with empty ones, comments and blanks around them."""
        text = []
        for line in lines:
            text += ["", self.pick(BLANKS)][: self.random.randrange(3)] if self.chance(3) else []
            text += [self._indent() + self.pick(COMMENTS)] if self.chance(4) else []
            text.append(line)
        return self._end.join(text) + (self._end if self.chance(2) else "")

    def _line(self, place: str) -> str:
        return self._instruction("TEMPLATE" if self.chance(60) and place != "test" else self.pick(INSIDE[place]), place)

    def _block(self, place: str, keyword: str, title: str) -> str:
        lines = self.few(3, lambda: self._line(place))
        if title == "experiment":
            lines.append(self._instruction("TRY", place))
        if place == "test":
            lines = [self._instruction("USER", place), *lines, self._instruction("EXPECT", place)]
        head = f"{self._case(keyword)}{self.pick(BLANKS)}{title}{self.pick(('', *BLANKS))}{{{self.pick(('', ' '))}"
        body = self._joined(lines)
        body += "" if body.endswith(("\n", "\r")) or not body else self._end
        return f"{head}{self._end}{body}{self._indent()}}}"

    def _instruction(self, keyword: str, place: str) -> str:
        first = self.pick(DELETED) if self.chance(40) else ""
        last = self.pick(("", "", "", " ", "\t ", "\u00a0"))
        return f"{self._indent()}{first}{self._case(keyword)}{self._operands(keyword, place)}{last}"

    def _operands(self, keyword: str, place: str) -> str:
        if keyword in PAIRS:
            name = self.pick(list(PAIRS[keyword]))
            gap = " " if keyword == "PARAMETER" else self.pick(BLANKS)
            value = self.pick(PAIRS[keyword][name] or ("1",))
            return f"{gap}{name}{self.pick(BLANKS)}{self._text() if name == 'stop' and self.chance(2) else value}"
        if keyword == "EXPECT":
            return self.pick(BLANKS) + self.pick(TESTS if place == "test" else GATES)
        if keyword in TEXTS:
            role = f" {self.pick(('user', 'system', 'assistant'))}" if keyword == "MESSAGE" else ""
            return f"{role}{self.pick(BLANKS)}{self._text()}"
        return self.pick(BLANKS) + self.pick(OPERANDS[keyword])

    def _text(self) -> str:
        """A text as it may stand in a value: bare, or quoted over several lines."""
        match self.random.randrange(4):
            case 0:
                return f"You are {self.pick(LINES)}"
            case 1:
                return f'"{self.pick(LINES)}"'
            case 2:
                return ""
        end = self.pick(ENDS) if self.chance(4) else self._end
        return '"""' + end.join(self.pick(LINES) for _ in range(self.random.randrange(1, 5))) + '"""'

    def _case(self, keyword: str) -> str:
        return keyword if not self.chance(4) else self.pick((keyword.lower(), keyword.capitalize()))

    def _indent(self) -> str:
        return self.pick(("", "", "  ", "\t", "     "))

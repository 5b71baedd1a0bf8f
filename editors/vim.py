"""The Vim and Neovim syntax of Modelfiles: fewer colours than the TextMate grammar has, the same rule for quotes."""

from __future__ import annotations

from collections.abc import Iterable

from editors.words import BLOCKS, GONE_PARAMETERS, LISTS
from modelkit.language.instructions import INSTRUCTIONS
from modelkit.language.lexer import WORDS, Shape

_HEAD = '''" Vim syntax of Modelfiles, made from the tables in modelkit/language: `make golden` rewrites it.
if exists("b:current_syntax")
  finish
endif
syntax case match
syntax sync fromstart
'''
_VALUES = r'''
syntax cluster MFTags contains=MFTag,MFVariable
syntax cluster MFAmongWords contains=MFWord,MFKey,MFGone,MFNumber,MFOperator
syntax cluster MFAmongWords add=MFFlag,MFInner,MFVariable,MFJoin
" A quote closes only as the last thing on its line; everything up to there is text.
syntax region MFString matchgroup=MFQuote start=/"\{3}/ end=/"\{3}\ze\s*$/ contained contains=@MFTags
syntax region MFString matchgroup=MFQuote start=/"\%(""\)\@!/ end=/"\ze\s*$/ contained contains=@MFTags
syntax match MFString /[^ \t"].*$/ contained contains=@MFTags
syntax match MFOperands /[^ \t"].*$/ contained contains=@MFAmongWords
syntax region MFTag start=/{{/ end=/}}/ contained oneline
syntax region MFTag start=/{%/ end=/%}/ contained oneline
syntax match MFVariable /\${\h\w*}/ contained
syntax match MFInner /"[^"]*"/ contained
syntax match MFFlag /\%(^\|\s\)\@1<=--\?\a[^ \t=]*/ contained
syntax match MFNumber /\%(^\|[ \t<>=]\)\@1<=[+-]\?\d[0-9.]*\%(ms\|[smh%]\|[kMG]i\?B\)\?\ze\%([ \t,]\|$\)/ contained
'''.replace("MF", "modelfile")
_OR = r"\|"
_LINKS = {"Comment": "Comment", "Instruction": "Statement", "Block": "Structure", "Title": "Function",
          "Brace": "Delimiter", "Join": "Keyword", "Key": "Identifier", "Gone": "Error", "Role": "Constant",
          "Word": "Type", "String": "String", "Quote": "String", "Inner": "String", "Tag": "PreProc",
          "Variable": "PreProc", "Number": "Number", "Operator": "Operator", "Flag": "Identifier"}


def syntax() -> str:
    """The syntax file."""
    keyed = [word for word, shape in WORDS.items() if shape in (Shape.KEY, Shape.LOOSE_KEY)]
    texts = [word for word in WORDS if word not in (*_OPERANDS, *keyed, *BLOCKS) and WORDS[word] is not Shape.ROLE]
    lines = [
        _HEAD,
        r"syntax match modelfileComment /^\s*#.*$/ contains=@Spell",
        _instruction(texts, "modelfileString"), _instruction(_OPERANDS, "modelfileOperands,modelfileString"),
        _instruction([word for word in keyed if word != "PARAMETER"], "modelfileKey"),
        _instruction(["PARAMETER"], "modelfileText,modelfileKey,modelfileGone"),
        _instruction([word for word in WORDS if WORDS[word] is Shape.ROLE], "modelfileRole"),
        rf"syntax match modelfileBlock /{_line(BLOCKS)}/ nextgroup=modelfileTitle skipwhite",
        r"syntax match modelfileTitle /\S.\{-}\ze\s*{\s*$/ contained contains=modelfileJoin",
        r"syntax match modelfileBrace /{\s*$/", r"syntax match modelfileBrace /^\s*}/",
        _word("Text", ("stop",), "modelfileString"), "highlight default link modelfileText modelfileKey",
        _word("Key", (*LISTS["parameters"], *LISTS["serve keys"]), "modelfileOperands,modelfileString"),
        _word("Gone", GONE_PARAMETERS, "modelfileString"), _word("Role", LISTS["roles"], "modelfileString"),
        _VALUES,
        _word("Word", [*(word for name in _WORDS for word in LISTS[name]), *INSTRUCTIONS]),
        r"syntax match modelfileJoin /\c\%(^\|\s\)\@1<=\%(AS\|EXTENDS\|PASS\|not\|speed\|imatrix\)\ze\s/ contained",
        rf"syntax match modelfileOperator /{_any(LISTS['operators'])}\|\~=/ contained", "",
        *(f"highlight default link modelfile{group} {link}" for group, link in _LINKS.items()),
        "", 'let b:current_syntax = "modelfile"', "",
    ]
    return "\n".join(lines)


_OPERANDS = ("ADAPTER", "QUANTIZE", "ENGINE", "PLATFORM", "POLICY", "FLAG", "UNSET", "TRY", "EXPECT", "REPEAT", "ARG")
_WORDS = ("precisions", "engines", "platforms", "policies", "metrics", "assertions")


def _any(words: Iterable[str]) -> str:
    """One of the words, as Vim writes it; the long ones first, since the first that fits is taken."""
    escaped = (word.replace("\\", r"\\").replace(".", r"\.").replace("/", r"\/") for word in words)
    return rf"\%({_OR.join(sorted(escaped, key=lambda word: (-len(word), word)))}\)"


def _line(words: Iterable[str]) -> str:
    return rf"\c^\s*{_any(words)}\ze\%(\s\|$\)"


def _instruction(words: Iterable[str], then: str) -> str:
    return rf"syntax match modelfileInstruction /{_line(words)}/ nextgroup={then} skipwhite"


def _word(group: str, words: Iterable[str], then: str = "") -> str:
    following = rf" nextgroup={then} skipwhite" if then else ""
    return rf"syntax match modelfile{group} /\%(^\|\s\)\@1<={_any(words)}\ze\%(\s\|$\)/ contained{following}"

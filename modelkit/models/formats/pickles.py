"""Is a file a pickle? Answered from its opcodes, without running any of them.

A pickle is a program: `torch.load` and `joblib.load` run what it says. Protocols 2 to 5 begin with `\\x80` and their
number, but so does a safetensors file whose header has 640 bytes, and protocols 0 and 1 begin with nothing of their
own. So the opcodes are walked with the height of their stack: a pickle is what goes on as one.
"""

from __future__ import annotations

import pickletools
import re

from modelkit.models.formats.access import Access

_WINDOW = 16 << 10
_LONGEST_LINE = 1 << 20
_MOST_OPCODES = 20_000  # no text or table goes on as a program for so long

_LINES = {  # arguments that end with a line; a text that happens to begin with an opcode seldom goes on like this
    "decimalnl_short": rb"[ \t]*[-+]?[0-9a-fA-FxXoO_]{1,99}[ \t\r]*\n",
    "decimalnl_long": rb"[ \t]*[-+]?[0-9a-fA-FxXoO_]{1,999}[ \t\r]*L?\n",
    "floatnl": rb"[ \t]*[-+0-9._eEiInNfFaAtTyY]{1,99}[ \t\r]*\n", "stringnl": rb"(?:'[^\n]*+\n|\"[^\n]*+\n)",
    "stringnl_noescape": rb"[^\n]{1,999}\n", "unicodestringnl": rb"[^\n]*+\n",
    "stringnl_noescape_pair": rb"[A-Za-z_][\w.]{0,499}\n[A-Za-z_][\w.]{0,499}\n"}
_PATTERNS = {name: re.compile(pattern) for name, pattern in _LINES.items()}
_LENGTHS = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT4: 4,
            pickletools.TAKEN_FROM_ARGUMENT4U: 4, pickletools.TAKEN_FROM_ARGUMENT8U: 8}
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}
_CALLS = frozenset(("REDUCE", "BUILD", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX"))
_IMPORTS = frozenset(("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"))


def is_pickle(access: Access) -> bool:
    """Would a loader run this file, at least until it calls something that it imported? Reads what it walks over."""
    return _Walk(access).is_pickle()


class _Walk:
    def __init__(self, access: Access) -> None:
        self.access, self.at = access, 0
        self.start, self.window = 0, access.read_at(0, _WINDOW)
        self.height, self.marks = 0, list[int]()

    def is_pickle(self) -> bool:
        announced = self.window[:1] == b"\x80" and self.window[1:2] in (b"\2", b"\3", b"\4", b"\5")
        imported = False
        for count in range(_MOST_OPCODES):
            if self.at >= self.access.size:
                return announced and count > 2  # cut
            opcode = _OPCODES.get(self.bytes(1))
            if opcode is None or not self.step(opcode):
                return False
            imported |= opcode.name in _IMPORTS
            if opcode.name == "STOP":
                return announced and count > 1  # what imports and calls nothing does nothing: a text may be that
            if imported and opcode.name in _CALLS:
                return True
        return True

    def bytes(self, count: int) -> bytes:
        """Up to `count` of the bytes from here."""
        if self.at - self.start + count > len(self.window) and self.start + len(self.window) < self.access.size:
            self.start, self.window = self.at, self.access.read_at(self.at, max(count, _WINDOW))
        return self.window[self.at - self.start:self.at - self.start + count]

    def step(self, opcode: pickletools.OpcodeInfo) -> bool:
        """Pass over an opcode and its argument. False if they can't stand here."""
        self.at += 1
        return (opcode.arg is None or self.skip(opcode.arg)) and self.stack(opcode)

    def skip(self, argument: pickletools.ArgumentDescriptor) -> bool:
        if (pattern := _PATTERNS.get(argument.name)) is not None:
            found = pattern.match(self.bytes(1 << 10)) or pattern.match(self.bytes(_LONGEST_LINE))
            self.at += found.end() if found else 0
            return found is not None
        size = argument.n
        if (width := _LENGTHS.get(size)) is not None:
            size = int.from_bytes(self.bytes(width), "little")
            self.at += width
        self.at += size
        return True

    def stack(self, opcode: pickletools.OpcodeInfo) -> bool:
        before, after = opcode.stack_before, opcode.stack_after
        if opcode.name == "MARK":
            self.marks.append(self.height)
            return True
        if opcode.name == "POP" and self.marks and self.height == self.marks[-1]:
            self.marks.pop()
            return True
        if pickletools.markobject in before:
            if not self.marks:
                return False
            self.height = self.marks.pop()
            before = before[:before.index(pickletools.markobject)]
        if self.height < len(before):
            return False
        self.height += len(after) - len(before)
        return True

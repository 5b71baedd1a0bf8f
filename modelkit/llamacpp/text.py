"""From tokens to text: whole characters only, and nothing that may turn out to be a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Writer:
    """The text of one answer, as far as it is certain.

    What `write` returns is never taken back: a character comes when all of its bytes are here (bytes that are no
    UTF-8 become U+FFFD, those of an unfinished character at the very end), and a text that could still grow into a stop
    string is held. The stop string that is complete first ends the answer; of two that end at one place it is the one
    that was named first, as in vLLM. The answer ends before it.

    `pieces` are the texts of the tokens by their id: the vocabulary's `visible`, or its `pieces` where control tokens
    are to be seen.
    """

    def __init__(self, pieces: Sequence[bytes], stop: Sequence[str] = ()) -> None:
        self.stopped_by: str | None = None
        self._pieces = pieces
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stops = [_Search(one) for one in stop]
        self._held = ""

    def write(self, token: int) -> str:
        """The text that is certain now that `token` is drawn; nothing more once `stopped_by` is set."""
        if self.stopped_by is not None:
            return ""
        return self._cut(self._decoder.decode(self._pieces[token]))

    def finish(self) -> str:
        """What was held, now that nothing follows."""
        if self.stopped_by is not None:
            return ""
        text = self._cut(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _cut(self, text: str) -> str:
        if not self._stops:
            return text
        before = len(self._held)
        self._held += text
        for index, character in enumerate(text):
            complete = [search for search in self._stops if search.step(character)]
            if complete:
                self.stopped_by = complete[0].text
                certain = self._held[: before + index + 1 - len(self.stopped_by)]
                self._held = ""
                return certain
        certain_to = len(self._held) - max(search.matched for search in self._stops)
        certain, self._held = self._held[:certain_to], self._held[certain_to:]
        return certain


class _Search:
    """Looks for one text in another that comes character by character (Knuth, Morris and Pratt)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.matched = 0  # characters of `text` that the other one ends with
        self._shorter = [0] * len(text)  # [i]: how much of `text` its first i + 1 characters end with, but themselves
        matched = 0
        for index in range(1, len(text)):
            while matched and text[index] != text[matched]:
                matched = self._shorter[matched - 1]
            matched += text[index] == text[matched]
            self._shorter[index] = matched

    def step(self, character: str) -> bool:
        """Whether the text is complete with this character."""
        text, matched = self.text, self.matched
        while matched and text[matched] != character:
            matched = self._shorter[matched - 1]
        matched += text[matched] == character
        self.matched = matched
        return matched == len(text)

"""How much goes into one step: measured while it works, since machines and models differ a thousandfold."""

from __future__ import annotations

SMALLEST = 64
"""Tokens of a prompt's part at least: below, the overhead of a step outweighs what it computes."""

STEP_SECONDS = 1.2
"""How long a step may be while somebody is being answered. On two slow cores a piece of 2,048 tokens takes 9 seconds;
pieces of 128 there make a long prompt's own first token come 40 % later than pieces of 512. This is in between.
"""

ALONE_SECONDS = 1.0
"""And while nobody is: what a newcomer waits at most before it is looked at."""

_FIRST_GUESS = 128
_FADE = 0.9

_LITTLE = 32
"""Tokens of prompts in a step that is measured as if they were drawn."""


class Pace:
    """Chooses the sizes of steps from how long the last ones took."""

    def __init__(self, batch_tokens: int, busy_tokens: int = 0) -> None:
        """`busy_tokens`: of a prompt in a step while somebody is being answered; 0: as many as fit STEP_SECONDS."""
        self._batch_tokens, self._busy_tokens = batch_tokens, busy_tokens
        self._busy = float(_FIRST_GUESS)
        self._alone = float(batch_tokens)
        self._per_guess = 0.0  # seconds to make one, of the last steps
        self._steps = _Line()

    def prompt_tokens(self, answered: int) -> int:
        """Tokens of prompts for the next step, beside `answered` sequences that draw a token in it."""
        most = self._alone if not answered else self._busy_tokens or self._busy
        return max(1, min(int(most), self._batch_tokens - answered))

    def observe(self, seconds: float, drawn: int, prompt: int) -> None:
        """A step took so long for `drawn` single tokens and guesses, and `prompt` tokens of prompts."""
        if prompt < _LITTLE:
            self._steps.add(drawn + prompt, seconds)
        elif drawn:
            self._busy = self._next(self._busy, prompt, seconds, STEP_SECONDS)
        else:
            self._alone = self._next(self._alone, prompt, seconds, ALONE_SECONDS)

    def _next(self, size: float, prompt: int, seconds: float, limit: float) -> float:
        """The size whose step would take `limit`, in proportion to this one.

        A step has costs that no token has, so in proportion is less than could be: the next steps find out. The other
        way, from a price by token, ends in steps that are all overhead: small ones look dear, and make themselves
        smaller. A step that was slow by chance halves the size at most, and the next one doubles it again.
        """
        fits = prompt * limit / max(seconds, 1e-9)
        if fits < size and seconds <= limit and prompt < int(size):
            return size  # it was not as large as it might have been: nothing is known of one that is
        return float(max(SMALLEST, min(fits, 2 * size, self._batch_tokens), size / 2))

    def step_tokens(self) -> float:
        """So many tokens take as long to compute as one more step does by itself; infinite while that is not known."""
        return self._steps.fixed / self._steps.each if self._steps.each > 0 else float("inf")

    def guessed(self, seconds: float, tokens: int) -> None:
        """So long it took to guess `tokens`."""
        self._per_guess = _FADE * self._per_guess + (1 - _FADE) * seconds / max(1, tokens)

    def pays(self, guesses: int, expected: float, batch: int) -> bool:
        """Whether `guesses` more tokens beside `batch` ones are worth the `expected` ones that will be right."""
        fixed, each = self._steps.fixed, self._steps.each
        if fixed + each <= 0:
            return True
        now = (fixed + each * batch) / batch
        return expected * now > (each + self._per_guess) * guesses


class _Line:
    """Seconds of a step as `fixed + each * tokens`, fitted to the last steps."""

    def __init__(self) -> None:
        self._weight = self._x = self._y = self._xx = self._xy = 0.0
        self.fixed = self.each = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        self._weight = self._weight * _FADE + 1
        self._x = self._x * _FADE + tokens
        self._y = self._y * _FADE + seconds
        self._xx = self._xx * _FADE + tokens * tokens
        self._xy = self._xy * _FADE + tokens * seconds
        spread = self._weight * self._xx - self._x * self._x
        if spread > 1e-6 * self._xx * self._weight:
            self.each = max(0.0, (self._weight * self._xy - self._x * self._y) / spread)
        self.fixed = max(0.0, (self._y - self.each * self._x) / self._weight)

    def at(self, tokens: int) -> float:
        return self.fixed + self.each * tokens if tokens else 0.0

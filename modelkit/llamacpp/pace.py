"""How much goes into one step: measured while it works, since machines and models differ a thousandfold."""

from __future__ import annotations

SMALLEST = 32
"""Tokens of a prompt's part at least: below, the overhead of a step outweighs what it computes."""

STEP_SECONDS = 1.2
"""How long a step may be while somebody is being answered. On two slow cores a piece of 2,048 tokens takes 9 seconds;
pieces of 128 there make a long prompt's own first token come 40 % later than pieces of 512. This is in between.
"""

ALONE_SECONDS = 1.0
"""And while nobody is: what a newcomer waits at most before it is looked at."""

_FIRST_GUESS = 128
_FADE = 0.9


class Pace:
    """Chooses the sizes of steps from how long the last ones took."""

    def __init__(self, batch_tokens: int, busy_tokens: int = 0) -> None:
        """`busy_tokens`: of a prompt in a step while somebody is being answered; 0: as many as fit STEP_SECONDS."""
        self._batch_tokens, self._busy_tokens = batch_tokens, busy_tokens
        self._per_prompt_token: float | None = None  # seconds, of the last steps
        self._per_guess = 0.0  # seconds to make one, of the last steps
        self._steps = _Line()

    def prompt_tokens(self, answered: int) -> int:
        """Tokens of prompts for the next step, beside `answered` sequences that draw a token in it."""
        if answered and self._busy_tokens:
            most = self._busy_tokens
        elif self._per_prompt_token is None:
            most = _FIRST_GUESS if answered else self._batch_tokens
        else:
            left = STEP_SECONDS - self._steps.at(answered) if answered else ALONE_SECONDS
            most = int(left / max(self._per_prompt_token, 1e-9)) // SMALLEST * SMALLEST
        return max(1, min(max(SMALLEST, most), self._batch_tokens - answered))

    def observe(self, seconds: float, drawn: int, prompt: int) -> None:
        """A step took so long for `drawn` single tokens and guesses, and `prompt` tokens of prompts."""
        if prompt < SMALLEST:
            self._steps.add(drawn + prompt, seconds)
            return
        rate = max(0.0, seconds - self._steps.at(drawn)) / prompt
        known = self._per_prompt_token
        # Attention makes later parts of a prompt dearer: what was slower counts at once, what was faster by half.
        self._per_prompt_token = rate if known is None or rate > known else (rate + known) / 2

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

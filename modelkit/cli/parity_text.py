"""What `modelkit parity` tells people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelkit.cli.terminal import Terminal

if TYPE_CHECKING:
    from modelkit.release.agreement import Agreement
    from modelkit.release.intervals import Interval
    from modelkit.release.parity import Difference, ParityReport

_FIELDS = 8


def say_report(terminal: Terminal, report: ParityReport, left: str, right: str, *, full: bool) -> None:
    """Each cause with the first conversation that shows it; all of them, whole, where `full`."""
    from modelkit.release.parity.comparing import names_of

    refused = f", {len(report.refused)} refused by both" if report.refused else ""
    if report.equal:
        terminal.data(f"prompts  {report.compared} conversations, {report.tokens} tokens, all equal{refused}")
        return
    terminal.data(f"prompts  {len(report.differences)} of {report.compared} conversations differ{refused}")
    for found in report.causes:
        cause = found.cause
        terminal.data(f"\n{cause.title(left, right)}{': ' + cause.detail if cause.detail else ''}")
        terminal.data(f"  in   {names_of(found.conversations)}")
        terminal.data(f"  fix  {cause.fix}")
        if not full:
            shown = next(one for one in report.differences if one.conversation == found.conversations[0])
            _say_difference(terminal, shown, left, right)
    for difference in report.differences if full else ():
        terminal.data("")
        _say_difference(terminal, difference, left, right)
        for name, prompt in ((left, difference.left_prompt), (right, difference.right_prompt)):
            terminal.data(f"  --- {name}\n{prompt}")


def _say_difference(terminal: Terminal, one: Difference, left: str, right: str) -> None:
    terminal.data(f"  {one.conversation}: token {one.at} of {one.left_count} and {one.right_count}: "
                  f"{one.left} and {one.right}")
    for line in one.window.lines(left, right):
        terminal.data(f"    {line}".rstrip())


def say_agreement(terminal: Terminal, found: Agreement, left: str, right: str) -> None:
    """The figures with their intervals, and the fields that only one side fills."""
    how = {"forced": "one answer given to both", "shared": "as far as the answers are equal"}[found.method]
    terminal.data(f"\nanswers  {found.conversations} conversations, {found.positions} positions, {how}; 95 % intervals")
    if found.conversations:
        terminal.data(f"  the same answer        {_percent(found.greedy)}")
    if found.positions:
        terminal.data(f"  the same likeliest     {_percent(found.top1)}")
        terminal.data(f"  divergence             {found.kl.value:.4f} nats a token, at least "
                      f"({found.kl.low:.4f} to {found.kl.high:.4f})")
    for one in sorted(found.fields, key=lambda each: not each.fault)[:_FIELDS]:
        why = "differs" if not one.fault else "is given by one side only" if one.field == "answer" \
            else "is read by one side only, or wrongly: a parser is missing or wrong"
        terminal.data(f"  {one.conversation}: {one.field} {why}: {left} {one.left!r}, {right} {one.right!r}")
    if len(found.fields) > _FIELDS:
        terminal.data(f"  and {len(found.fields) - _FIELDS} more")
    for error in found.errors[:_FIELDS]:
        terminal.data(f"  not answered: {error}")


def _percent(said: Interval) -> str:
    return f"{100 * said.value:5.1f} % ({100 * said.low:.1f} to {100 * said.high:.1f})"

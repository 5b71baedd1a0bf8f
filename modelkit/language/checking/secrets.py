"""Access tokens, by their looks, anywhere in the text."""

from __future__ import annotations

import re

from modelkit.language.diagnostic import Report
from modelkit.language.rules.production import POSSIBLE_SECRET, SECRET_IN_FILE
from modelkit.language.source import Source, Span

_TOKENS = (
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
    ("an API key", r"sk-[A-Za-z0-9_-]{20,}"),
    ("an AWS access key", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}"),
    ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("a Google API key", r"AIza[0-9A-Za-z_-]{35}"),
    ("a private key", r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY-----"),
    ("a password in a URL", r"[a-z]{2,10}://[^/\s:@]{1,64}:[^/\s:@]{1,128}(?=@)"),
)
# One pass over the text, and only from where a word begins: long values stay cheap.
_ANY = re.compile(r"(?<![A-Za-z0-9_])(?:" + "|".join(f"(?P<t{i}>{p})" for i, (_, p) in enumerate(_TOKENS)) + ")")


def find_secrets(source: Source, report: Report) -> None:
    """Reports every text that looks like a token, without repeating it."""
    known = [found.span for found in report.found if found.rule is SECRET_IN_FILE]
    for match in _ANY.finditer(source.text):
        if any(span.start <= match.start() < span.end for span in known):
            continue
        what = _TOKENS[int(str(match.lastgroup)[1:])][0]
        report.add(POSSIBLE_SECRET, f"this looks like {what}", Span(*match.span()),
                   hint="remove it and revoke it; name `env:NAME` or `file:path` instead")

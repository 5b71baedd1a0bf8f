"""Every rule of the language: the one table that the parser, the checker, the rule pages and `explain` read.

A rule's id is a slug that is never reused and never renumbered. `why` says what goes wrong for whom; `help` says what
to write instead. Both become the rule's page, so they are whole sentences. A family is a module; a new rule is a few
lines there, an entry in `examples.py` and a case in `tests/golden/errors`.
"""

from __future__ import annotations

from modelkit.language.diagnostic import Rule
from modelkit.language.rules.comments import COMMENTS
from modelkit.language.rules.engine import ENGINE
from modelkit.language.rules.family import Family
from modelkit.language.rules.meaning import MEANING
from modelkit.language.rules.model import MODEL
from modelkit.language.rules.ollama import OLLAMA
from modelkit.language.rules.production import PRODUCTION
from modelkit.language.rules.style import STYLE
from modelkit.language.rules.syntax import SYNTAX

_IN_ORDER = (SYNTAX, OLLAMA, MEANING, PRODUCTION, ENGINE, MODEL, STYLE, COMMENTS)

FAMILIES: dict[str, Family] = {family.name: family for family in _IN_ORDER}
RULES: dict[str, Rule] = {slug: rule for family in FAMILIES.values() for slug, rule in family.rules.items()}
assert len(RULES) == sum(len(family.rules) for family in FAMILIES.values()), "two families have a rule of one name"

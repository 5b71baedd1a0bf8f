"""How a model goes to a stage and back: the plan, the checks, the switch, the record, and what makes it whole again.

Knows engines by the `Endpoint` that it is given, never the supervisor itself.
"""

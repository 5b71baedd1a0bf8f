"""What must be shown before a stage gets something new, from its EXPECT and POLICY lines: kinds, verdicts, evidence."""

from modelkit.release.gates.asking import Asked, asked
from modelkit.release.gates.context import GateContext, Measures, Soaked
from modelkit.release.gates.running import GateReport, run_gates
from modelkit.release.gates.table import KINDS

__all__ = ["KINDS", "Asked", "GateContext", "GateReport", "Measures", "Soaked", "asked", "run_gates"]

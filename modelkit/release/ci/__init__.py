"""What `modelkit ci` finds of Modelfiles without an engine, and how it reads in a pull request. Pure."""

from modelkit.release.ci.markdown import MARKER, markdown
from modelkit.release.ci.report import FileReport, Report, StageReport, Step, file_verdict, verdict_of

__all__ = ["MARKER", "FileReport", "Report", "StageReport", "Step", "file_verdict", "markdown", "verdict_of"]

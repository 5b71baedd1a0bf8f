"""Memory against context and speed against quality as pictures: in a terminal, as SVG, as PNG."""

from modelkit.cli.fit.plotting.series import Memory, Pace, Picture, Step, picture

__all__ = ["Memory", "Pace", "Picture", "Step", "picture"]

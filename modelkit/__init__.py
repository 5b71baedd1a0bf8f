"""modelkit: one Modelfile from laptop to production."""

__version__ = "0.2.0"

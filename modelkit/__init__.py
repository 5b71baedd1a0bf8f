"""modelkit: one Modelfile from laptop to production."""

__version__ = "0.4.0"

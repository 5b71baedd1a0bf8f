"""What a model is made of, as far as memory and speed go, read from headers alone."""

from modelkit.models.anatomy.anatomy import Anatomy, Attention, Layer, Role, Weight

__all__ = ["Anatomy", "Attention", "Layer", "Role", "Weight"]

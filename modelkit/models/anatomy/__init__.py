"""What a model is made of, as far as memory and speed go, read from headers alone."""

from modelkit.models.anatomy.anatomy import Anatomy, Attention, Layer, Role, Weight
from modelkit.models.anatomy.folder import anatomy_of_folder
from modelkit.models.anatomy.header import anatomy_of_header
from modelkit.models.anatomy.local import anatomy_of

__all__ = ["Anatomy", "Attention", "Layer", "Role", "Weight", "anatomy_of", "anatomy_of_folder", "anatomy_of_header"]

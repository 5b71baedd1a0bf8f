"""References, the store, model file readers and conversion."""

from modelkit.models.acquire import acquire, locate, pull, weights_of
from modelkit.models.convert.folder import huggingface_folder, locate_folder
from modelkit.models.facts import ModelFacts, facts
from modelkit.models.reference import Reference
from modelkit.models.store import Progress, Store

__all__ = ["ModelFacts", "Progress", "Reference", "Store", "acquire", "facts", "huggingface_folder", "locate",
           "locate_folder", "pull", "weights_of"]

"""Do two stages turn the same conversations into the same tokens, and if not, why not?

Both sides get the client's messages as a client would send them; the contract adds the Modelfile's part on each. So
equal ids prove the whole way: system prompt, few-shots, chat template, special tokens and tokenizer.
"""

from modelkit.release.parity.causes import Cause
from modelkit.release.parity.comparing import Difference, Found, ParityReport, compare
from modelkit.release.parity.conversations import Conversation, own_conversations, shipped_conversations
from modelkit.release.parity.rendering import Rendering

__all__ = ["Cause", "Conversation", "Difference", "Found", "ParityReport", "Rendering", "compare", "own_conversations",
           "shipped_conversations"]

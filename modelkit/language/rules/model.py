"""What the model's own files say otherwise. `planning.beside` looks at the ones that lie beside the Modelfile."""

from __future__ import annotations

from modelkit.language.rules.family import Family

MODEL = Family("model", "What the model's own files, as far as they are on this machine, say otherwise.")

MISSING_FILE = MODEL.warning(
    "missing-file",
    "A path leads to nothing on this machine.",
    why="Paths are relative to the Modelfile. Ollama takes a path that leads nowhere for a model's name, and then "
    "complains of the name.",
    help="Correct the path, or bring the file here. A model that others are to fetch too has a name in a registry.",
)
SHADOWED_NAME = MODEL.warning(
    "shadowed-name",
    "A file or folder beside the Modelfile has the name of the model.",
    why="A path that exists wins over a model's name, in Ollama too. With the folder there it is the folder that is "
    "loaded, on another machine the registry's model.",
    help="Write `./name` for the file, or the whole name for the model: `registry/name:tag`.",
)
CONTEXT_TOO_LONG = MODEL.error(
    "context-too-long",
    "`num_ctx` is more than the model was trained for.",
    why="Beyond its training a model answers nonsense. Ollama lowers the number in silence; `up` refuses it, since "
    "engines do.",
    help="Lower it to what the message says.",
)
NO_CHAT_TEMPLATE = MODEL.error(
    "no-chat-template",
    "A model that chats has no chat template.",
    why="The template makes one prompt of a conversation. A base model's file has none, and engines guess or refuse; "
    "`up` refuses.",
    help="Take the instruction-tuned model, or write the TEMPLATE that it was trained with.",
)
ADAPTER_OF_ANOTHER_MODEL = MODEL.error(
    "adapter-of-another-model",
    "An adapter was trained for another architecture than the base has.",
    why="Its numbers belong to layers that the base does not have, and the engine refuses to load it.",
    help="Name the base that the adapter was trained for.",
)
DRAFT_OF_ANOTHER_VOCABULARY = MODEL.warning(
    "draft-of-another-vocabulary",
    "A draft has another vocabulary than the base.",
    why="What a draft guesses is tokens, and the same number is another token to another model. llama.cpp refuses a "
    "draft whose vocabulary differs by more than 128 tokens.",
    help="Name a small model of the same family.",
)

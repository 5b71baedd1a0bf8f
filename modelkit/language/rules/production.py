"""What goes wrong between a laptop and production."""

from __future__ import annotations

from modelkit.language.rules.family import Family

PRODUCTION = Family("production", "What works on a laptop and goes wrong on the way to production.")

NEEDS_IMATRIX = PRODUCTION.warning(
    "needs-imatrix",
    "A QUANTIZE type that needs an importance matrix has none.",
    why="The types of the fewest bits (IQ1, IQ2, Q2_K_S, the smaller IQ3) are not made by llama.cpp without a matrix "
    "that says which weights matter; `up` would stop there.",
    help="Give the matrix's file, as many repositories carry one: `QUANTIZE IQ2_M imatrix ./model.imatrix`. Or name a "
    "base that has this type already.",
)
SECRET_IN_FILE = PRODUCTION.error(
    "secret-in-file",
    "A secret is written into the Modelfile.",
    why="A Modelfile is committed, shared and shown in plans. A secret is only ever named in it: `env:NAME` for an "
    "environment variable, `file:path` for a file.",
    help="Move the secret out, name its place, and change it: it has been written down.",
)
POSSIBLE_SECRET = PRODUCTION.warning(
    "possible-secret",
    "A text looks like an access token.",
    why="A Modelfile is committed and shared; its text even reaches the model.",
    help="Remove the token and revoke it. Credentials for downloads come from the environment.",
)
MUTABLE_REFERENCE = PRODUCTION.info(
    "mutable-reference",
    "A reference may mean another model tomorrow.",
    why="Without a tag, or with `latest`, the registry decides which model is meant, and may change its mind.",
    help="Name a tag, or a digest where the registry has them.",
)
PLACEHOLDER = PRODUCTION.warning(
    "placeholder",
    "A reference holds a placeholder.",
    why="`<…>` and `${…}` are left from a template; they are not replaced, and no model is called so.",
    help="Write the reference itself.",
)
MACHINE_PATH = PRODUCTION.info(
    "machine-path",
    "A path leads into one person's home folder.",
    why="The file will not be found on another machine.",
    help="Write a path that starts with `./`, relative to the Modelfile, or with `~`.",
)
BAD_TEMPLATE = PRODUCTION.error(
    "bad-template",
    "A TEMPLATE does not parse, or fails whatever the conversation is.",
    why="Every request would fail when it is rendered. Text with `{%` is Jinja; any other is a Go template, as in "
    "Ollama, which is made into Jinja for the engines.",
    help="Correct the template at the place that is shown. `modelkit render` shows the prompt that it writes.",
)
TEMPLATE_NOT_EXPRESSIBLE = PRODUCTION.error(
    "template-not-expressible",
    "A Go TEMPLATE does something that Jinja can't.",
    why="Engines render Jinja, and a Go template is made into Jinja that writes the same prompt. A few things have no "
    "like there: `define` and `block`, `js`, yesterday's date, values that are known only while it runs.",
    help="Write it in another way, write the TEMPLATE in Jinja, or leave it out: the model's own is used then.",
)
UNKNOWN_TEMPLATE_VARIABLE = PRODUCTION.warning(
    "unknown-template-variable",
    "A Go TEMPLATE has a variable that there never was.",
    why="It prints `<no value>` into every prompt, and is false in an `if`; nothing else says so.",
    help="Write the variable's name as it is: `.System`, `.Prompt`, `.Messages`, `.Tools` and so on.",
)
TEMPLATE_FAILS = PRODUCTION.warning(
    "template-fails",
    "A Go TEMPLATE fails when it gets to this place.",
    why="Ollama notices only when a conversation leads there, and answers with an error. Here it is an error of that "
    "request, too.",
    help="Correct the name, or take the branch out.",
)
PLATFORM_FOR_EXPERIMENTS = PRODUCTION.error(
    "platform-for-experiments",
    "A desktop program is the PLATFORM of a stage that is no experiment.",
    why="Ollama, LM Studio and Jan are good for trying a model out; they keep neither the versions nor the limits "
    "that dev and prod promise.",
    help="Move the line into `STAGE experiment`.",
)
CACHE_PATH = PRODUCTION.warning(
    "cache-path",
    "A path leads into a program's cache.",
    why="Hugging Face's and Ollama's caches have names that only their programs write, and are emptied by them. The "
    "path is good on the machine that downloaded the model, until the cache is cleaned.",
    help="Name the model itself: `hf.co/org/name@commit`, or the name that `ollama pull` takes.",
)
BACKSLASH_PATH = PRODUCTION.warning(
    "backslash-path",
    "A path is written with backslashes.",
    why="Elsewhere than on Windows a backslash is part of a file's name, so the file is not found in a container or on "
    "a server. Windows takes `/` too.",
    help="Write the path with `/`.",
)
SECOND_SYSTEM_MESSAGE = PRODUCTION.warning(
    "second-system-message",
    "A system message is not the first one.",
    why="Ollama joins all system messages into one. Chat templates do not: some print it where it stands, many take "
    "the first alone, and some raise an error. So dev and prod, or two models, read different prompts.",
    help="Put the text into SYSTEM.",
)
TURNS_OUT_OF_ORDER = PRODUCTION.warning(
    "turns-out-of-order",
    "The MESSAGEs are not question and answer by turns.",
    why="The client's question comes after them. Two turns of one role in a row are joined by Ollama, printed twice by "
    "most chat templates, and refused by some (\"roles must alternate\").",
    help="Write pairs: `MESSAGE user …`, then `MESSAGE assistant …`.",
)
TEMPLATE_TOKEN_IN_TEXT = PRODUCTION.warning(
    "template-token-in-text",
    "A text holds a token of a chat template.",
    why="The template puts the text between such tokens itself. Inside it they end the turn early, so that what "
    "follows counts as another role's; and another model has other tokens.",
    help="Remove the token. The chat template writes it.",
)
TEMPLATE_READS_CLOCK = PRODUCTION.info(
    "template-reads-clock",
    "A TEMPLATE prints the date.",
    why="The same conversation is another prompt every day: golden answers change, and what was cached for the "
    "beginning of a prompt is lost at midnight.",
    help="Keep it only if the model needs the date.",
)
TOOLS_NOT_IN_TEMPLATE = PRODUCTION.warning(
    "tools-not-in-template",
    "Tools are expected, and the TEMPLATE does not print them.",
    why="A model knows of its tools by the prompt alone. A template that does not mention them drops them in silence, "
    "and the model answers in text.",
    help="Print `.Tools`, in Jinja `tools`; or remove the TEMPLATE, so that the model's own is used.",
)
OPEN_TO_THE_NETWORK = PRODUCTION.warning(
    "open-to-the-network",
    "A stage listens beyond this machine, and no key is named.",
    why="Whoever reaches the address could use the model, so `up` refuses it unless `MODELKIT_API_KEY` is set.",
    help="Write `SERVE api_key env:NAME`, or leave out `SERVE host`.",
)
PRIVILEGED_PORT = PRODUCTION.info(
    "privileged-port",
    "A port below 1024.",
    why="On Linux only root, or a program with that capability, may listen there; `up` fails for anyone else.",
    help="Choose a port from 1024 on, and let a proxy have the other.",
)
MUTABLE_IMAGE = PRODUCTION.info(
    "mutable-image",
    "A container image may be another one tomorrow.",
    why="A tag can be moved, and `latest`, or none, is moved with every release.",
    help="Name a release's tag, or a digest: `image@sha256:…`. `modelkit lock` writes the digest down.",
)
MACHINE_SETTING = PRODUCTION.info(
    "machine-setting",
    "A setting that fits one machine is said for all stages.",
    why="How many threads or layers are right depends on the machine. At the top of a file with stages it applies to "
    "production too.",
    help="Move it into the stage that runs on that machine, mostly `STAGE dev`.",
)
FOLDER_NAME = PRODUCTION.info(
    "folder-name",
    "A model that other machines serve has no NAME.",
    why="Without NAME clients send the file's name, and for `Modelfile` its folder's: another checkout, or a pipeline "
    "that builds in `/build`, gives the model another name, and clients get a 404.",
    help="Write `NAME`.",
)
DEFAULT_CONTEXT = PRODUCTION.info(
    "default-context",
    "A stage for other machines does not say how long a conversation may be.",
    why="Without `num_ctx` it is 4096 tokens, prompt and answer together, unless the base says otherwise. Ollama "
    "chooses by the GPU's memory, so what worked there may be too long here.",
    help="Write `PARAMETER num_ctx`. It also decides how much memory a conversation takes.",
)
NO_ROOM_FOR_PROMPT = PRODUCTION.warning(
    "no-room-for-prompt",
    "`num_predict` leaves no room for a prompt.",
    why="Prompt and answer share the context. An answer of `num_ctx` tokens or more never fits.",
    help="Raise `num_ctx`, or lower `num_predict`.",
)
UPWARD_QUANTIZATION = PRODUCTION.warning(
    "upward-quantization",
    "QUANTIZE asks for more bits than the base has.",
    why="What was rounded off does not come back. The model gets larger and slower, and not better.",
    help="Drop QUANTIZE, or name a base with more bits.",
)
FLOOR_ABOVE_BASE = PRODUCTION.warning(
    "floor-above-base",
    "`QUANTIZE auto` asks for at least more than the base has.",
    why="What was rounded off does not come back, so no precision answers it: `up` would stop there.",
    help="Lower the floor, or name a base with more bits.",
)
AUTO_NEEDS_HARDWARE = PRODUCTION.warning(
    "auto-needs-hardware",
    "`QUANTIZE auto` for other machines, and nothing says which.",
    why="The best precision that fits is another one on another GPU. What the stage runs on has to be in the file, so "
    "that the choice does not depend on the machine that the lock is written on.",
    help="Write `SERVE accelerator` with the GPU's name, or a precision.",
)
PENALTY_REWARDS = PRODUCTION.warning(
    "penalty-rewards",
    "`repeat_penalty` is below 1.",
    why="1 is neutral. Below it, tokens that were said already get likelier each time, and the model begins to repeat "
    "itself.",
    help="Write 1.0 to turn it off, or 1.1 for a mild penalty.",
)
GPU_MEMORY_FULL = PRODUCTION.warning(
    "gpu-memory-full",
    "An engine is to take all of the GPU's memory.",
    why="An engine such as vLLM does not start unless that part is free, and the GPU's driver and context need some "
    "of it themselves.",
    help="Write 0.95 or less.",
)
MAX_REPLICAS_TOO_LOW = PRODUCTION.error(
    "max-replicas-too-low",
    "`max_replicas` is lower than `replicas`.",
    why="It is the most that copies may grow to from `replicas`.",
    help="Raise `max_replicas`, or lower `replicas`.",
)
NOT_FOR_THIS_TASK = PRODUCTION.warning(
    "not-for-this-task",
    "A setting has no effect on what the model is served for.",
    why="A model that embeds or reranks generates nothing, so prompts, sampling and stop strings mean nothing there; "
    "and a chat has no pooling.",
    help="Remove it, or move it into the stages that it is for.",
)
DRAFT_IS_BASE = PRODUCTION.error(
    "draft-is-base",
    "DRAFT names the base itself.",
    why="A draft saves time because it is smaller. Ollama refuses a draft that is the base.",
    help="Name a small model of the same family, or `SERVE speculative ngram`, which needs none.",
)
ADAPTER_NAME_TWICE = PRODUCTION.error(
    "adapter-name-twice",
    "Two adapters would be one model.",
    why="The model name in a request chooses the adapter, so no two have the same.",
    help="Give each its own name after AS.",
)
PICKLED_WEIGHTS = PRODUCTION.error(
    "pickled-weights",
    "Weights in a form that can run code when they are loaded.",
    why="PyTorch's `.pt`, `.pth`, `.ckpt` and Python's `.pkl` are pickles: reading one runs what is in it. No stage "
    "loads them.",
    help="Name the safetensors or the GGUF of the model.",
)

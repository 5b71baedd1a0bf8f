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
GO_TEMPLATE = PRODUCTION.warning(
    "go-template",
    "A TEMPLATE is a Go template, which this release does not use.",
    why="Engines render Jinja. This release uses the model's own chat template, which is nearly always the one that "
    "the Go template was written after. Text with `{%` is Jinja and is used as it is.",
    help="Remove the TEMPLATE, or write it in Jinja.",
)
BAD_TEMPLATE = PRODUCTION.error(
    "bad-template",
    "A Jinja TEMPLATE does not parse.",
    why="Every request would fail when it is rendered.",
    help="Correct the template at the line that the message names.",
)
PLATFORM_FOR_EXPERIMENTS = PRODUCTION.error(
    "platform-for-experiments",
    "A desktop program is the PLATFORM of a stage that is no experiment.",
    why="Ollama, LM Studio and Jan are good for trying a model out; they keep neither the versions nor the limits "
    "that dev and prod promise.",
    help="Move the line into `STAGE experiment`.",
)

"""docs/reference/cli.md, made from the parser itself."""

from __future__ import annotations

import argparse

from modelkit.cli.main import EXIT_CODES
from modelkit.cli.parser import build

ENVIRONMENT = {
    "MODELKIT_API_KEY": "the API key; once set, every call needs it, and `env` prints it",
    "MODELKIT_PORT": "the port of the project's address, unless --port says another",
    "MODELKIT_STAGE": "the stage, unless -s says another",
    "MODELKIT_HOME": "one folder for cache, engines, logs and sockets, instead of the XDG directories",
    "NO_COLOR": "any value: no colour",
    "LLAMA_SERVER": "the path of a llama-server to use, before PATH is searched",
}


def page() -> str:
    """The reference page of the command line."""
    parser = build()
    lines = [
        "# Command line", "",
        "Made from the parser: `make golden` rewrites it.", "",
        "Results go to stdout; notes, progress and errors go to stderr. With `--json` stdout is one JSON document,",
        'on failure too: `{"error": {"code", "message", "hint"}}`.', "",
    ]
    for name, command in commands(parser).items():
        lines += [f"## modelkit {name}", "", f"{command.description}", "", "```", *_usage(name, command), "```", ""]
        rows = [_row(action) for action in command._actions if not isinstance(action, argparse._HelpAction)]
        lines += ["| argument | meaning |", "|---|---|", *rows, ""]
        example = (command.epilog or "").partition("\n")[2].strip()
        lines += ["Example:", "", "```sh", example, "```", ""]
    lines += ["## Environment", "", "| variable | meaning |", "|---|---|"]
    lines += [f"| `{name}` | {meaning} |" for name, meaning in ENVIRONMENT.items()]
    lines += ["", "## Exit codes", "", "| code | meaning |", "|---|---|"]
    lines += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The subcommands of a parser, by their word."""
    group = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return dict(group.choices)


def _usage(name: str, command: argparse.ArgumentParser) -> list[str]:
    words = [f"modelkit {name}"]
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        words.append(_spelled(action) if action.option_strings == [] else f"[{_spelled(action)}]")
    return [" ".join(words)]


def _spelled(action: argparse.Action) -> str:
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else None
    operand = action.metavar or choices or action.dest.upper()
    if not action.option_strings:
        shapes = {"?": "[{}]", "*": "[{} ...]", "+": "{} ..."}
        return shapes.get(str(action.nargs), "{}").format(operand)
    return action.option_strings[0] if action.nargs == 0 else f"{action.option_strings[0]} {operand}"


def _row(action: argparse.Action) -> str:
    names = ", ".join(f"`{o}`" for o in action.option_strings) or f"`{_spelled(action).strip('[]. ')}`"
    return f"| {names} | {action.help or ''} |"

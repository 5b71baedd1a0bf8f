"""The command line's words. The reference page is made from this parser."""

from __future__ import annotations

import argparse
from typing import Any

from modelkit import __version__
from modelkit.cli.exchange_words import add_exchange_commands
from modelkit.cli.fit_words import add_fit_command
from modelkit.cli.measuring_words import add_measuring_commands
from modelkit.cli.model_words import add_model_commands, arg_flag, lock_flags
from modelkit.cli.parity_words import add_parity_command
from modelkit.cli.promotion_words import add_promotion_commands
from modelkit.cli.record_words import add_record_commands
from modelkit.cli.testing_words import add_testing_commands

_DESCRIPTION = "One Modelfile from laptop to production: llama.cpp for dev, vLLM for prod, one OpenAI API."
_FILE = "a Modelfile, or a folder that holds one (default: the Modelfile of this folder)"


class _Parser(argparse.ArgumentParser):
    _between = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options may stand anywhere between a command's words: `export ollama -s dev Modelfile`.

        argparse alone gives an optional word its default at the first option, and then has no place for the word. Its
        own way around that forgets `--`, so what follows one is marked as no option until all is read.
        """
        if self._between or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        at = args.index("--") if "--" in args else len(args)
        words = [_MARK + word if word.startswith("-") else word for word in args[at + 1 :]]
        self._between = True
        try:
            found, others = self.parse_known_intermixed_args([*args[:at], *words], namespace)
        finally:
            self._between = False
        for name, value in vars(found).items():
            setattr(found, name, _unmarked(value))
        return found, _unmarked(others)

    def error(self, message: str) -> Any:
        self.exit(2, f"error[usage]: {message}\n  = hint: {self.prog} --help\n")


_MARK = "\0"  # in no word that a system hands to a program


def _unmarked(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmarked(one) for one in value]
    return value.removeprefix(_MARK) if isinstance(value, str) else value


class Subcommands:
    """Where commands are added."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._group = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)

    def add(self, name: str, module: str, summary: str, *, example: str, json: bool = True) -> argparse.ArgumentParser:
        """A command: its word, its module in `cli.commands`, one line, and an example that a test runs."""
        parser = self._group.add_parser(
            name, help=summary, description=summary[0].upper() + summary[1:] + ".", epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.set_defaults(module=module)
        if json:
            parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")
        parser.add_argument("-q", "--quiet", action="store_true", help="no notes or progress on stderr")
        return parser


def build() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = _Parser(prog="modelkit", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"modelkit {__version__}")
    commands = Subcommands(parser)
    for add in (_init, _check, _fmt, _parse, _ci, _plan, _render, _explain, _diff, _up, _ps, _status, _logs, _down,
                _chat, _env, _engine, _doctor, _lsp, _version):
        add(commands)
    add_exchange_commands(commands)
    add_promotion_commands(commands)
    add_model_commands(commands)
    add_fit_command(commands)
    add_measuring_commands(commands)
    add_testing_commands(commands)
    add_parity_command(commands)
    add_record_commands(commands)
    return parser


def _file(parser: argparse.ArgumentParser, *, many: bool = False) -> None:
    parser.add_argument("files" if many else "file", metavar="FILE", nargs="*" if many else "?", help=_FILE)


def _stage(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-s", "--stage", help="the stage (default: $MODELKIT_STAGE, else dev)")


def _init(commands: Subcommands) -> None:
    parser = commands.add("init", "init", "write a first Modelfile; asks what no flag says",
                          example="modelkit init --name support --from hf.co/Qwen/Qwen3-0.6B")
    parser.add_argument("file", metavar="FILE", nargs="?",
                        help="the file, or its folder, which is made if need be (default: ./Modelfile)")
    parser.add_argument("--name", help="the model name that clients send (default: the folder's)")
    parser.add_argument("--from", dest="base", metavar="REFERENCE", help="the base model (default: a small one)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt; an empty one leaves the model's own")
    parser.add_argument("--context", type=int, metavar="TOKENS", help="prompt and answer together (default: 4096)")
    parser.add_argument("--platform", metavar="NAME", help="where production runs (default: process)")
    parser.add_argument("-y", "--yes", action="store_true", help="ask nothing")


def _check(commands: Subcommands) -> None:
    parser = commands.add("check", "check", "say what is wrong with Modelfiles, and mend it",
                          example="modelkit check --fix Modelfile")
    parser.add_argument("files", metavar="FILE", nargs="*", help=f"{_FILE}; `-` for standard input")
    arg_flag(parser)
    parser.add_argument("--fix", action="store_true", help="mend what has a safe fix, in the files themselves")
    parser.add_argument("--unsafe-fixes", action="store_true", help="with --fix or --diff: guess what was meant, too")
    parser.add_argument("--diff", action="store_true", help="write nothing; print what --fix would change, as a patch")
    parser.add_argument("--select", metavar="RULES", action="append", default=[],
                        help="only these rules or families, with commas between, and errors of the language")
    parser.add_argument("--ignore", metavar="RULES", action="append", default=[], help="all but these")
    parser.add_argument("--format", choices=["full", "concise", "json", "github", "sarif", "junit"], default="full",
                        help="full is for people, on stderr; the others go to stdout (default: full)")
    parser.add_argument("--fail-on", choices=["error", "warning", "info"], default="error",
                        help="what makes the exit code 1 (default: error)")


def _fmt(commands: Subcommands) -> None:
    parser = commands.add("fmt", "fmt", "lay Modelfiles out: blanks, capitals and empty lines, never a text",
                          example="modelkit fmt Modelfile")
    parser.add_argument("files", metavar="FILE", nargs="*",
                        help="a Modelfile, or a folder that holds one (default: the Modelfile of this folder); "
                        "`-` for standard input, to standard output")
    parser.add_argument("--check", action="store_true", help="write nothing; list the files that are not laid out")
    parser.add_argument("--diff", action="store_true", help="write nothing; print what would change, as a patch")


def _parse(commands: Subcommands) -> None:
    parser = commands.add("parse", "parse", "print what a Modelfile's text says, one JSON line a file", json=False,
                          example="modelkit parse --as ollama Modelfile")
    parser.add_argument("--as", dest="dialect", choices=["ollama"], default="ollama",
                        help="whose reading: Ollama's own commands, or its rejection")
    parser.add_argument("files", metavar="FILE", nargs="+", help="a Modelfile")


def _ci(commands: Subcommands) -> None:
    parser = commands.add("ci", "ci", "check, lay out, lock, plan and compare stages: everything that needs no engine",
                          example="modelkit ci --base origin/main --comment-file comment.md")
    _file(parser, many=True)
    parser.add_argument("--base", metavar="COMMIT", help="say what changes in each stage against this branch or commit")
    parser.add_argument("--between", metavar=("FROM", "TO"), nargs=2, default=["dev", "prod"],
                        help="the stages whose difference and parity are shown (default: dev prod)")
    parser.add_argument("--skip", metavar="STEP", action="append", default=[], choices=[*CI_STEPS],
                        help=f"leave a step out: {', '.join(CI_STEPS)}; may be repeated")
    parser.add_argument("--fail-on", choices=["error", "warning", "info"], default="error",
                        help="which findings of `check` fail it (default: error)")
    parser.add_argument("--comment-file", metavar="FILE", help="write it as Markdown, for a pull request; with "
                        "$GITHUB_STEP_SUMMARY it goes there, too")
    lock_flags(parser)


CI_STEPS = ("check", "layout", "lock", "plan", "flags", "parity")
"""What `modelkit ci` does, in that order."""


def _plan(commands: Subcommands) -> None:
    parser = commands.add("plan", "plan", "show what a stage would run, why, and what it needs",
                          example="modelkit plan -s prod")
    _file(parser, many=True)
    _stage(parser)
    _address(parser)
    lock_flags(parser)
    parser.add_argument("--exit-code", action="store_true", help="1 if `up` would change something, or what runs was "
                        "changed behind modelkit's back")
    parser.add_argument("--out", metavar="PLAN", help="keep the plan in a file, for `up --plan`")


def _render(commands: Subcommands) -> None:
    parser = commands.add("render", "render", "show the prompt that a stage's model reads for a conversation",
                          example='modelkit render -s dev --prompt "What is the capital of France?"')
    _file(parser)
    _stage(parser)
    said = parser.add_mutually_exclusive_group()
    said.add_argument("--messages", metavar="FILE", help="JSON: a list of messages, or a request with messages, tools "
                      "and chat_template_kwargs; `-` for standard input")
    said.add_argument("-p", "--prompt", metavar="TEXT", help="one message of a user (default: Hello!)")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument("--tokens", action="store_true", help="show the tokens, one a line")
    shown.add_argument("--template", action="store_true", help="show the Jinja template that engines get")
    lock_flags(parser)


def _explain(commands: Subcommands) -> None:
    parser = commands.add("explain", "explain", "show each flag of a stage's engine and where it comes from, or what a "
                          "rule of `check` is about", example="modelkit explain mutable-reference")
    parser.add_argument("file", metavar="FILE|RULE", nargs="?", help=f"{_FILE}; or a rule's name, for its page")
    parser.add_argument("--rules", action="store_true", help="list all rules")
    _stage(parser)
    lock_flags(parser)


def _diff(commands: Subcommands) -> None:
    parser = commands.add("diff", "diff", "say what differs between two stages, and what it means for clients",
                          example="modelkit diff dev prod")
    parser.add_argument("left", metavar="FROM", help="the stage that serves")
    parser.add_argument("right", metavar="TO", help="the stage that shall serve")
    _file(parser)
    parser.add_argument("--exit-code", action="store_true", help="1 if a difference is more than `safe`")
    lock_flags(parser)


def _address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, help="the address's TCP port (default: $MODELKIT_PORT, SERVE port, 8484)")
    parser.add_argument("--host", help="the address to bind (default: SERVE host, 127.0.0.1)")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError(f"`{text}` is not a port: it must be from 1 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1e6:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number of seconds")
    return seconds


def _up(commands: Subcommands) -> None:
    parser = commands.add("up", "up", "run a stage behind the project's address",
                          example="modelkit up -s dev -d --wait")
    _file(parser, many=True)
    _stage(parser)
    _address(parser)
    lock_flags(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="leave it running and return")
    parser.add_argument("--wait", action="store_true", help="with --detach: return when it is ready, or failed")
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")
    parser.add_argument("--plan", metavar="PLAN", help="do what `plan --out` kept; stop if it is stale, and say why")
    parser.add_argument("--here", action="store_true", help="run it as a process, as the unit of PLATFORM systemd does")
    _yes(parser)


def _yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-y", "--yes", action="store_true", help="don't ask before other machines are changed")


def _ps(commands: Subcommands) -> None:
    commands.add("ps", "ps", "list what is running", example="modelkit ps")


def _status(commands: Subcommands) -> None:
    parser = commands.add("status", "status", "ask engines what they have, and say where that was not planned",
                          example="modelkit status --drift")
    _file(parser)
    _stage(parser)
    parser.add_argument("--drift", action="store_true", help="compare with the Modelfile and lock; 1 if they differ")
    parser.add_argument("--url", help="ask the engine at this address, wherever it runs")
    lock_flags(parser)


def _logs(commands: Subcommands) -> None:
    parser = commands.add("logs", "logs", "print what the engines said", example="modelkit logs --tail 20", json=False)
    _file(parser)
    parser.add_argument("-s", "--stage", help="the stage, where several are on platforms of other programs")
    parser.add_argument("-f", "--follow", action="store_true", help="go on printing as they speak")
    parser.add_argument("--tail", type=int, default=None, metavar="N", help="only the last N lines")


def _down(commands: Subcommands) -> None:
    parser = commands.add("down", "down", "drain and stop what runs", example="modelkit down")
    _file(parser)
    parser.add_argument("-s", "--stage", help="only this stage, which is on a platform of another program")
    parser.add_argument("--drain", type=_seconds, default=30.0, metavar="SECONDS",
                        help="how long requests in flight may take to finish (default: 30)")
    parser.add_argument("--all", action="store_true", help="every project of this user")
    parser.add_argument("--dry-run", action="store_true", help="say what it would do, and do nothing")
    _yes(parser)


def _chat(commands: Subcommands) -> None:
    parser = commands.add("chat", "chat", "talk to what runs, or ask one question", json=False,
                          example='modelkit chat "What is the capital of France?"')
    parser.add_argument("question", nargs="*", help="ask this and leave; without it, a conversation (or stdin)")
    parser.add_argument("-f", "--file", metavar="FILE", help=_FILE)


def _env(commands: Subcommands) -> None:
    parser = commands.add("env", "env", "print OPENAI_BASE_URL and OPENAI_API_KEY for a shell",
                          example='eval "$(modelkit env)"')
    arg_flag(parser)
    _file(parser)


def _engine(commands: Subcommands) -> None:
    parser = commands.add("engine", "engine", "install, list, compare and remove engines",
                          example="modelkit engine list")
    parser.add_argument("action", choices=["install", "list", "rm", "diff"])
    parser.add_argument("engine", nargs="?", help="for install and rm: vllm or ray; for diff: any engine")
    parser.add_argument("versions", metavar="VERSION", nargs="*", help="for diff: from which version, to which")
    parser.add_argument("--version", dest="engine_version", help="for install and rm: which (default: the newest "
                        "pinned; all that are installed)")
    parser.add_argument("--variant", choices=["cpu", "cuda"], help="for install (default: cuda where a driver is), rm")
    parser.add_argument("--reinstall", action="store_true", help="for install: make it anew")
    parser.add_argument("--offline", action="store_true", help="for install: take only what is on this machine")


def _doctor(commands: Subcommands) -> None:
    commands.add("doctor", "doctor", "say what this machine has and what is missing", example="modelkit doctor")


def _lsp(commands: Subcommands) -> None:
    parser = commands.add("lsp", "lsp", "serve an editor: findings, completion, hovers, fixes over stdin and stdout",
                          example="modelkit lsp", json=False)
    parser.add_argument("--stdio", action="store_true", help="what it does anyway; many editors say it")


def _version(commands: Subcommands) -> None:
    commands.add("version", "version", "print the version", example="modelkit version")

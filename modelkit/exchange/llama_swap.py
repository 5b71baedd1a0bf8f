"""A config of llama-swap: its models, each from the command that starts it.

Facts: github.com/mostlygeek/llama-swap, `config.example.yaml`, `config-schema.json` and `internal/config` (v240 to
v250): macros, `cmd` split like a shell's words without being run by one, `#` lines in it, filters.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from modelkit.exchange import flags
from modelkit.exchange.command_lines import drafted
from modelkit.exchange.documents import Parsed, parse
from modelkit.exchange.draft import Draft
from modelkit.exchange.losses import Account, one_line
from modelkit.exchange.request_fields import request_field
from modelkit.exchange.shell import Command, find_command
from modelkit.exchange.sources import Imported, Source
from modelkit.failure import Failure

_LONGEST = 64 << 10  # characters of a command, when its macros are in place
_MACRO = re.compile(r"\$\{([A-Za-z0-9_-]{1,64})\}")
_ENVIRONMENT = re.compile(r"\$\{env\.([A-Za-z_]\w*)\}")
_PORT = re.compile(r"--port[ =]+\$\{PORT\}")

_ITSELF = ("cmdStop", "proxy", "checkEndpoint", "timeouts", "unloadTimeout", "sendLoadingState", "useModelName")
_SHOWN = ("name", "description", "metadata", "unlisted", "capabilities")
_AROUND = ("groups", "matrix", "routing", "hooks", "peers", "profiles", "selectors")


def read(source: Source) -> tuple[Imported, ...]:
    """A model for each entry of `models:`."""
    parsed = parse(source.text, source.name)
    models = parsed.mapping("models")
    if not models:
        raise Failure("no-models", f"{source.name} has no `models:`", hint="is it a config of llama-swap?")
    return tuple(_one(key, parsed, source) for key in models)


def _one(key: str, parsed: Parsed, source: Source) -> Imported:
    account = Account(line=parsed.line("models", key))
    try:
        entry = parsed.mapping("models", key)
        account.line = parsed.line("models", key, "cmd")
        command = _command(key, entry, parsed, account, source.name)
        draft = drafted(command, "a config of llama-swap", account, source.folder)
        account.line = parsed.line("models", key)
        draft.name(source.called or key, said=f"models.{key}")
        _settings(key, entry, parsed, draft)
        _filters(key, parsed, draft)
        _around(parsed, draft)
        return Imported(key, draft.settled(), account.graded)
    except Failure as failure:
        return Imported(key, None, account.graded, failure)


def _command(key: str, entry: Mapping[str, Any], parsed: Parsed, account: Account, name: str) -> Command:
    where = f"{name}:{account.line}: `models.{key}.cmd`"
    cmd = entry.get("cmd")
    if not isinstance(cmd, str) or not cmd.strip():
        raise Failure("no-engine-command", f"{where} is missing", hint="every model of llama-swap has one")
    macros = {**parsed.mapping("macros"), **parsed.mapping("models", key, "macros"), "MODEL_ID": key}
    lines = [line for line in cmd.splitlines() if not line.lstrip().startswith("#")]
    text = _PORT.sub("", _expanded(" ".join(lines), macros, where))
    try:
        words = shlex.split(_surrounded(text, account))
    except ValueError as error:
        raise Failure("no-engine-command", f"{where} cannot be split into words: {str(error).lower()}") from None
    said = entry.get("env")
    variables = [one for one in said if isinstance(one, str)] if isinstance(said, list) else []
    return find_command([*variables, *words], where)


def _expanded(text: str, macros: Mapping[str, Any], where: str) -> str:
    """`text` with macros in place, and the macros in those; what is no macro stays."""
    for _ in range(16):
        before, text = text, _MACRO.sub(lambda found: _macro(found, macros), text)
        if text == before:
            return text
        if len(text) > _LONGEST:
            raise Failure("too-large", f"{where} is longer than 64 KiB with its macros in place")
    raise Failure("import-shape", f"{where} has macros that hold each other")


def _macro(found: re.Match[str], macros: Mapping[str, Any]) -> str:
    value = macros.get(found[1])
    if value is None or isinstance(value, (dict, list)):
        return found[0]
    return " ".join(str(value).lower().split() if isinstance(value, bool) else str(value).split("\n"))


def _surrounded(text: str, account: Account) -> str:
    """`text` with the environment in place, as llama-swap does it, but for what may be a secret."""

    def put(found: re.Match[str]) -> str:
        name = found[1]
        if name == "HOME":
            return "~"
        if flags.is_secret(name) or name not in os.environ:
            return found[0]
        account.approximated(found[0], "as it is in the environment now")
        return os.environ[name]

    return _ENVIRONMENT.sub(put, text)


def _settings(key: str, entry: Mapping[str, Any], parsed: Parsed, draft: Draft) -> None:
    account = draft.account
    for setting, value in entry.items():
        account.line = parsed.line("models", key, setting)
        said = f"{setting}: {one_line(str(value), 40)}" if isinstance(value, (str, int, float)) else setting
        if setting in _ITSELF:
            account.unneeded(said, "modelkit starts, watches and stops engines itself")
        elif setting in _SHOWN:
            account.lost(said, "`/v1/models` shows a model's name, and nothing that a file says of it")
        elif setting == "aliases":
            account.lost(f"aliases: {_listed(value)}", "a model has one name here")
        elif setting == "concurrencyLimit" and value:
            account.lost(said, "requests beyond `SERVE max_concurrency` wait; none is refused for their number")
        elif setting not in ("cmd", "env", "macros", "filters", "ttl", "concurrencyLimit"):
            account.lost(said, "it is not a setting that is known")
    ttl = entry.get("ttl", -1)
    ttl = parsed.mapping().get("globalTTL", 0) if ttl == -1 else ttl
    if isinstance(ttl, int) and ttl > 0:
        account.line = parsed.line("models", key, "ttl")
        draft.serve("keep_alive", f"{ttl}s", said=f"ttl: {ttl}")


def _filters(key: str, parsed: Parsed, draft: Draft) -> None:
    account = draft.account
    for name, value in parsed.mapping("models", key, "filters").items():
        account.line = parsed.line("models", key, "filters", name)
        if name == "setParams" and isinstance(value, dict):
            for field, one in value.items():
                request_field(draft, str(field), one, f"setParams.{field}")
            account.approximated("setParams", "defaults here: what a client sends wins")
        else:
            account.lost(f"filters.{name}", "what a client sends reaches the engine as it is")


def _around(parsed: Parsed, draft: Draft) -> None:
    account = draft.account
    for name in _AROUND:
        if parsed.mapping().get(name):
            account.line = parsed.line(name)
            account.lost(name, "a Modelfile is one model: which ones run together is yours to start")
    if parsed.mapping().get("apiKeys"):
        account.line = parsed.line("apiKeys")
        draft.serve("api_key", "env:MODELKIT_API_KEY", said="apiKeys: …", why="keys are kept outside of the file")
        account.approximated("apiKeys: …", "keys are not in the file: put one into $MODELKIT_API_KEY")


def _listed(value: Any) -> str:
    names = [str(one.get("id", "")) if isinstance(one, dict) else str(one) for one in value] \
        if isinstance(value, list) else [str(value)]
    return ", ".join(names)

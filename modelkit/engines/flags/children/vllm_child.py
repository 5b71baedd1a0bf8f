"""Runs in an environment that has what vLLM imports: `python vllm_child.py SOURCES` prints vLLM's flags as JSON.

SOURCES is a folder with vLLM's Python files of any version. What is compiled is not needed to build the parser, so
missing modules of vLLM's own are replaced by empty ones.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.metadata
import json
import os
import sys
import types
from typing import Any


class Missing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """The last finder: gives an empty module for a part of vLLM, or of `REPLACED`, that nobody else found."""

    def __init__(self) -> None:
        self.replaced: list[str] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not name.startswith("vllm.") or name.rpartition(".")[2].lstrip("_").islower():
            return None  # compiled parts are named `_C`, `_moe_C`, `_rocm_C`
        self.replaced.append(name)
        return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec: Any) -> types.ModuleType:
        return types.ModuleType(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


def plain(value: Any) -> Any:
    """A default as JSON has it; None for an object that the parser makes itself, and for none at all."""
    if isinstance(value, (bool, int, float, str)):
        return None if value == argparse.SUPPRESS else value
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    return None


def type_of(action: argparse.Action) -> str:
    """What a value is read as: int, float, str or json; bool for a flag without a value."""
    if action.nargs == 0:
        return "bool"
    names = [getattr(action.type, "__name__", "str")]
    cells = getattr(action.type, "__closure__", None) or ()
    names += [getattr(cell.cell_contents, "__name__", "") for cell in cells if callable(cell.cell_contents)]
    for part, said in (("int", "int"), ("float", "float"), ("loads", "json"), ("json", "json"), ("dataclass", "json")):
        if any(part in name for name in names):
            return said
    return "str"


def described(action: argparse.Action, words: list[str], deprecated: bool) -> dict[str, Any]:
    """One flag as a row of the table. `words` are all that the parser takes, in its order."""
    negative = getattr(action, "negative_option_strings", {word for word in words if word.startswith("--no-")})
    if not isinstance(action, argparse.BooleanOptionalAction):
        negative = set()
    shown = set(action.option_strings)
    names = [word for word in words if word not in negative]
    flag = next((word for word in names if word.startswith("--")), names[0])
    return {"flag": flag, "aliases": sorted(set(names) - {flag}),
            "negations": sorted(set(words) & set(negative), key=lambda word: (word not in shown, word)),
            "hidden": sorted(set(words) - shown), "type": type_of(action), "nargs": action.nargs or None,
            "choices": sorted((one for one in action.choices or () if one is not None), key=str),
            "default": plain(action.default), "deprecated": deprecated}


def main() -> None:
    sources = sys.argv[1]
    os.environ |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR",
                   "VLLM_PLUGINS": "", "DO_NOT_TRACK": "1"}
    sys.path.insert(0, sources)
    missing = Missing()
    sys.meta_path.append(missing)
    arguments: Any = None
    for room in ("common", "launchers", "openai"):  # 0.33 and later, 0.29 to 0.32, before
        try:
            arguments = importlib.import_module(f"vllm.entrypoints.{room}.cli_args")
            break
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("vllm.entrypoints"):
                raise
    said = importlib.import_module("vllm").__file__
    if not str(said).startswith(sources):
        raise SystemExit(f"imported {said} instead of {sources}")
    parser = arguments.make_arg_parser(importlib.import_module("vllm.utils.argparse_utils").FlexibleArgumentParser())
    words: dict[int, list[str]] = {}
    for word, action in parser._option_string_actions.items():  # with those that its help leaves out
        words.setdefault(id(action), []).append(word)
    rows = [described(action, words[id(action)], action in parser._deprecated) for action in parser._actions
            if action.option_strings and not isinstance(action, argparse._HelpAction)]
    tools = importlib.import_module("vllm.tool_parsers").ToolParserManager
    reasoning = importlib.import_module("vllm.reasoning").ReasoningParserManager
    json.dump({"version": importlib.import_module("vllm.version").__version__, "flags": rows,
               "tool_parsers": sorted(tools.list_registered()),
               "reasoning_parsers": sorted(reasoning.list_registered()),
               "replaced": sorted(set(missing.replaced))}, sys.stdout)


main()

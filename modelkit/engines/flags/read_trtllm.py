"""trtllm-serve's options and the fields of LlmArgs, as TensorRT-LLM's source declares them: read, not run.

`commands/serve.py` has click's options of the command `serve`; `llmapi/llm_args.py` has the fields as annotations of
pydantic models. Options have underscores and are taken as they are written only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from modelkit.engines.flags.table import Flag, FlagTable

FIELDS = "llm_args"
"""The list of fields in the options file; those of a part of it are in `llm_args.<part>`."""

_MODELS = {"BaseLlmArgs": FIELDS, "TorchLlmArgs": FIELDS, "KvCacheConfig": f"{FIELDS}.kv_cache_config"}
_TYPES = {"int": "int", "float": "float", "bool": "bool"}


def table(version: str, serve: str, llm_args: str, parsers: Mapping[str, Iterable[str]], source: str) -> FlagTable:
    """The table of a version, from the texts of both files. `parsers` are the lists of parsers, which others keep."""
    lists: dict[str, tuple[str, ...]] = {name: tuple(names) for name, names in parsers.items()}
    for node in ast.parse(llm_args).body:
        if isinstance(node, ast.ClassDef) and (name := _MODELS.get(node.name)) is not None:
            lists[name] = tuple(sorted({*lists.get(name, ()), *_fields(node)}))
    return FlagTable("tensorrt-llm", version, "static", source, tuple(_options(ast.parse(serve))), lists)


def _options(module: ast.Module) -> Iterator[Flag]:
    command = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "serve")
    for call in command.decorator_list:
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "click.option":
            words = [str(word.value) for word in call.args if isinstance(word, ast.Constant)]
            names = [word for word in words if word.startswith("-")]
            said = {word.arg: word.value for word in call.keywords}
            flag = isinstance(said.get("is_flag"), ast.Constant)
            yield Flag(names[0], tuple(names[1:]), type="bool" if flag else _type(said.get("type")),
                       choices=_choices(said.get("type")), default=_default(said.get("default"), flag))


def _type(node: ast.expr | None) -> str:
    return _TYPES.get(node.id, "str") if isinstance(node, ast.Name) else "str"


def _choices(node: ast.expr | None) -> tuple[str, ...]:
    if not (isinstance(node, ast.Call) and "Choice" in ast.unparse(node.func) and node.args):
        return ()
    said = [part for one in node.args for part in _literals(one)]
    return tuple(sorted(said))


def _literals(node: ast.expr) -> tuple[str, ...]:
    try:
        return tuple(ast.literal_eval(node))
    except ValueError:
        return ()


def _default(node: ast.expr | None, flag: bool) -> str | int | float | None:
    said = node.value if isinstance(node, ast.Constant) and not flag else None
    return said if isinstance(said, (str, int, float)) else None


def _fields(model: ast.ClassDef) -> Iterator[str]:
    for node in model.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) \
                and not node.target.id.startswith("_") and "ClassVar" not in ast.unparse(node.annotation):
            yield node.target.id

"""SGLang's flags as its source declares them (0.5.23): read, not run, for importing it wants a GPU's libraries.

`srt/arg_groups/fields/*.py` have one annotated field a flag, `A[type, Arg(…)]`; `srt/server_args.py` adds the few whose
choices are computed; `parser_names.py` and `reasoning_parser_names.py` list the parsers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from modelkit.engines.flags.table import Flag, FlagTable

FIELDS, ARGUMENTS = "sglang/srt/arg_groups/fields/", "sglang/srt/server_args.py"
CHOICES = "sglang/srt/arg_groups/choices.py"
LISTS = {"tool_parsers": ("sglang/srt/function_call/parser_names.py", "TOOL_CALL_PARSER_NAMES"),
         "reasoning_parsers": ("sglang/srt/parser/reasoning_parser_names.py", "REASONING_PARSER_NAMES")}

_PARSED = {"loads": "json", "json_list_type": "json", "human_readable_int": "int"}


def wanted(name: str) -> bool:
    """Whether a file of the wheel is read here."""
    return name.endswith(".py") and (name.startswith(FIELDS) or
                                     name in (ARGUMENTS, CHOICES, *(path for path, _ in LISTS.values())))


def table(version: str, sources: Mapping[str, str], source: str) -> FlagTable:
    """The table of a version. `sources` are the wheel's files by name. Raises KeyError where it is built otherwise."""
    known = _constants(sources[CHOICES])
    fields = [text for name, text in sorted(sources.items()) if name.startswith(FIELDS)]
    flags = [flag for text in fields for flag in _fields(ast.parse(text), known)]
    flags += _added(ast.parse(sources[ARGUMENTS]), known)
    lists = {name: tuple(_constants(sources[path])[constant]) for name, (path, constant) in LISTS.items()}
    return FlagTable("sglang", version, "static", source, tuple({one.flag: one for one in flags}.values()), lists)


def _constants(text: str) -> dict[str, Any]:
    """A module's literal lists by name."""
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = _value(node.value, found)
    return found


def _fields(module: ast.Module, known: Mapping[str, Any]) -> Iterator[Flag]:
    for parent in ast.walk(module):
        for node in parent.body if isinstance(parent, ast.ClassDef) else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is(node.annotation, "A"):
                assert isinstance(node.annotation, ast.Subscript)
                annotation, meta = _parts(node.annotation)
                said = {word.arg: word.value for word in meta.keywords} if isinstance(meta, ast.Call) else {}
                if "no_cli" not in said:
                    yield _flag(node.target.id, annotation, said, node.value, known)


def _flag(name: str, annotation: ast.expr, said: Mapping[str | None, ast.expr], default: ast.expr | None,
          known: Mapping[str, Any]) -> Flag:
    own = _value(said["cli_name"], known) if "cli_name" in said else "--" + name.replace("_", "-")
    choices = _value(said["choices"], known) if "choices" in said else _literal(annotation)
    kind, nargs = _type(annotation), _value(said["nargs"], known) if "nargs" in said else None
    negations: tuple[str, ...] = ()
    if "action" in said:
        both = ast.unparse(said["action"]).endswith("BooleanOptionalAction")
        kind, nargs = ("bool", None) if both else ("str", "*")
        negations = ("--no-" + own[2:],) if both else ()
    elif "type_parser" in said:
        kind = _PARSED.get(ast.unparse(said["type_parser"]).rpartition(".")[2], "str")
    elif nargs is None and "List[" in ast.unparse(annotation):
        nargs = "+"
    plain = _value(default, known) if default is not None else None
    return Flag(own, tuple(sorted(_value(said["aliases"], known) or ())) if "aliases" in said else (), negations,
                type=kind, nargs=nargs, choices=tuple(sorted(choices or (), key=str)),
                default=plain if isinstance(plain, (bool, int, float, str)) else None,
                deprecated="deprecated" in ast.unparse(said.get("help", ast.Constant(""))).lower()[:16])


def _added(module: ast.Module, known: Mapping[str, Any]) -> Iterator[Flag]:
    """What `add_cli_args` adds by itself."""
    function = next(node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)
                    and node.name == "add_cli_args")
    for call in ast.walk(function):
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
                and call.func.attr == "add_argument"):
            continue
        said = {word.arg: word.value for word in call.keywords}
        bare = "action" in said and "nargs" not in said
        choices = _value(said["choices"], known) if "choices" in said else ()
        yield Flag(_value(call.args[0], known), type="bool" if bare else "str", choices=tuple(sorted(choices or ())),
                   deprecated="new_flag" in said or "eprecated" in ast.unparse(said.get("help", call.args[0]))[:16])


def _parts(annotation: ast.Subscript) -> tuple[ast.expr, ast.expr]:
    assert isinstance(annotation.slice, ast.Tuple)
    return annotation.slice.elts[0], annotation.slice.elts[1]


def _is(annotation: ast.expr, name: str) -> bool:
    return isinstance(annotation, ast.Subscript) and isinstance(annotation.value, ast.Name) \
        and annotation.value.id == name


def _type(annotation: ast.expr) -> str:
    text = ast.unparse(annotation).replace("Optional[", "").strip("]")
    return {"int": "int", "float": "float", "bool": "bool"}.get(text, "int" if "List[int" in text else "str")


def _literal(annotation: ast.expr) -> tuple[Any, ...]:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal":
            parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return tuple(_value(part, {}) for part in parts)
    return ()


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    """A literal, or a list of `choices.py`; None for what only running would tell."""
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Mult)):
        left, right = _value(node.left, known), _value(node.right, known)
        if left is None or right is None:
            return None
        return left + right if isinstance(node.op, ast.Add) else left * right
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None

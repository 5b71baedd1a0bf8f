"""Schemas as people write them, each of bounded length, for a model that says anything at all."""

from __future__ import annotations

from typing import Any


def text(most: int = 12) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


def thing(required: tuple[str, ...] | None = None, **properties: Any) -> dict[str, Any]:
    """A closed object."""
    return {"type": "object", "properties": properties, "additionalProperties": False,
            "required": list(properties if required is None else required)}


def listed(items: Any, most: int = 3, least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


WHOLE = {"type": "integer", "minimum": -1000, "maximum": 1000}

SCHEMAS: dict[str, dict[str, Any]] = {
    "flat": thing(name=text(), age=WHOLE, ok={"type": "boolean"}),
    "optional": thing(("name",), name=text(), nick=text(), age=WHOLE),
    "nested": thing(person=thing(name=text(), home=thing(city=text(), zip=text(5)))),
    "list": thing(tags=listed(text(6), 4, 1)),
    "list of objects": thing(items=listed(thing(id=WHOLE, label=text(6)), 3, 1)),
    "top-level list": listed(WHOLE, 5, 2),
    "top-level text": text(20),
    "top-level number": WHOLE,
    "enum": thing(color={"enum": ["red", "green", "blue"]}, size={"enum": [1, 2, 3]}),
    "const": thing(kind={"const": "event"}, at=WHOLE),
    "any of": thing(value={"anyOf": [text(), WHOLE, {"type": "null"}]}),
    "several types": thing(value={"type": ["string", "null"], "maxLength": 8}),
    "one of, told apart": {"oneOf": [thing(kind={"const": "a"}, x=WHOLE), thing(kind={"const": "b"}, y=text())]},
    "all of": {"allOf": [
        {"type": "object", "properties": {"a": WHOLE}, "required": ["a"], "additionalProperties": True},
        {"properties": {"b": text()}, "required": ["b"], "additionalProperties": True}],
        "properties": {"a": True, "b": True}},
    "definitions": {"$defs": {"point": thing(x=WHOLE, y=WHOLE)}, **thing(start={"$ref": "#/$defs/point"},
                                                                      end={"$ref": "#/$defs/point"})},
    "linked": {"$defs": {"leaf": thing(value=WHOLE), "node": thing(("value",), value=WHOLE, next={"anyOf": [
        {"$ref": "#/$defs/leaf"}, {"type": "null"}]})}, **thing(value=WHOLE, next={"$ref": "#/$defs/node"})},
    "pattern": thing(code={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}),
    "date": thing(day={"type": "string", "format": "date"}),
    "time stamp": thing(at={"type": "string", "format": "date-time"}),
    "uuid": thing(id={"type": "string", "format": "uuid"}),
    "email": thing(mail={"type": "string", "format": "email", "maxLength": 20}),
    "bounds": thing(p={"type": "number", "minimum": 0, "maximum": 1}, n={"type": "integer", "exclusiveMinimum": 5,
                                                                         "maximum": 99}),
    "multiple": thing(n={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}),
    "length": thing(pin={"type": "string", "minLength": 4, "maxLength": 4}),
    "tuple": {"type": "array", "prefixItems": [text(5), WHOLE, {"type": "boolean"}], "items": False, "minItems": 3},
    "map": {"type": "object", "additionalProperties": WHOLE, "maxProperties": 2, "minProperties": 1},
    "empty object": thing(),
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "letters of the world": thing(**{"straße": text(6), "名前": text(6), "🙂": {"type": "boolean"}}),
    "names with signs": thing(**{'a"b': WHOLE, "c\\d": WHOLE, "e f": WHOLE}),
    "titles and notes": {"title": "Answer", "description": "What is asked for", "examples": [{"a": 1}],
                         **thing(a={**WHOLE, "title": "A", "default": 3})},
    "a call": thing(tool={"enum": ["search", "open"]}, arguments=thing(("query",), query=text(), limit=WHOLE)),
}

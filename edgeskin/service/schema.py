"""JSON Schema (2020-12) of what the service answers, made from the dataclasses of the results.

It follows the rules of `edgeskin.results.to_plain`. Objects are closed and all their keys required, since
every key is always there: a field that is added to a dataclass is in the schema of the same version.
"""

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from edgeskin.imaging.change import Comparison, LimitsOf
from edgeskin.results import Assessment, Explanation, Failure, Quality

Schema = dict[str, Any]

PLACE = "#/components/schemas/"
"""Where an OpenAPI document keeps schemas, so they can refer to each other."""
_PLAIN: dict[Any, Schema] = {
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
}
# The arrays of the results have two axes.
_ARRAY: Schema = {"type": "array", "items": {"type": "array", "items": _PLAIN[float]}}
# What `to_dict` adds to the fields of a dataclass, and what it leaves out.
_ADDED: dict[type, dict[str, Any]] = {
    Assessment: {"blind_spots": tuple[str, ...]},
    Explanation: {"schema_version": int, "faint": bool},
    Comparison: {"limits_of": LimitsOf},
}
_LEFT_OUT = {Comparison: {"difference"}}


def reference(name: str) -> Schema:
    """A schema by its name in `schemas`."""
    return {"$ref": PLACE + name}


def schemas() -> dict[str, Schema]:
    """The schemas by name: ``Assessment``, ``Comparison``, ``Quality``, ``Error`` and what they consist of.

    They belong under ``components.schemas`` of an OpenAPI 3.1 document, which takes JSON Schema 2020-12.
    """
    named = {
        cls.__name__: _of_dataclass(cls) for cls in _dataclasses(Assessment, Comparison, Quality, Failure)
    }
    error = _closed(
        {"error": reference(Failure.__name__), "request_id": _PLAIN[str]},
        "Why a request has no result; code is for programs.",
    )
    return {**named, "Error": error}


def _dataclasses(*roots: type) -> Iterator[type]:
    """The dataclasses that these and their fields consist of, each once."""
    seen: set[type] = set()
    waiting = list(roots)
    while waiting:
        cls = waiting.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        yield cls
        waiting += [part for hint in _hints(cls).values() for part in _parts(hint)]


def _parts(hint: Any) -> Iterator[type]:
    """The dataclasses that a type hint names."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for inner in get_args(hint):
        yield from _parts(inner)


def _hints(cls: Any) -> dict[str, Any]:
    """The type of each JSON key of a dataclass."""
    types = get_type_hints(cls)
    keys = {field.name: field.metadata.get("json", field.name) for field in dataclasses.fields(cls)}
    left_out = {"", *_LEFT_OUT.get(cls, ())}
    return {key: types[name] for name, key in keys.items() if key not in left_out} | _ADDED.get(cls, {})


def _of_dataclass(cls: type) -> Schema:
    description = (inspect.getdoc(cls) or "").split("\n\n", 1)[0].replace("\n", " ")
    return _closed({key: _of(hint) for key, hint in _hints(cls).items()}, description)


def _closed(properties: dict[str, Schema], description: str) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _of(hint: Any) -> Schema:
    """The schema of a type hint that a field of a result has. Raises TypeError for any other."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    if hint is NoneType:
        return {"type": "null"}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return reference(hint.__name__)
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return {"enum": list(inner)}
    if kind in (Union, UnionType):
        return {"anyOf": [_of(one) for one in inner]}
    if kind is np.ndarray:
        return _ARRAY
    if kind is tuple:
        if inner[-1] is Ellipsis:
            return {"type": "array", "items": _of(inner[0])}
        items = [_of(one) for one in inner]
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if kind is not None and issubclass(kind, Mapping):
        return {"type": "object", "additionalProperties": _of(inner[1])}
    raise TypeError(f"no schema for {hint}")

"""Read JSON, and plain data such as parsed JSON or YAML into frozen dataclasses, checking every type.

A field may be a dataclass, bool, int, float, str, Any, a Literal, a tuple, a mapping, or Optional. It may
also be a union of dataclasses, each with a field ``name`` of a Literal type: the data's ``name`` picks the
member, and without a ``name`` the first member is read.
"""

import dataclasses
import functools
import json
import math
import sys
import types
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from edgeskin.errors import SettingError

T = TypeVar("T")

DEEPEST = 64
"""Objects and arrays in one another, far below what Python's recursion allows."""
LONGEST_NUMBER = 64
"""Characters of a number. Reading one takes a time that grows with the square of its length."""


def read_json(content: bytes) -> dict[str, Any]:
    """Parse a JSON object that says one thing only.

    Raises:
        ValueError: It is no JSON object, is nested too deeply, repeats a key, or holds a number that is not
            finite or has more than LONGEST_NUMBER characters.
    """
    try:
        values = json.loads(
            content,
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    level: list[Any] = [values]
    for _ in range(DEEPEST):
        level = [part for one in level for part in _parts(one)]
    if level:
        raise ValueError("nested too deeply")
    return values


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        ((repeated, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"repeats the key {repeated!r:.60}")
    return values


def _whole(number: str) -> int:
    _require_short(number)
    return int(number)


def _require_short(number: str) -> None:
    if len(number) > LONGEST_NUMBER:
        raise ValueError(f"a number of {len(number)} digits")


def _finite(number: str) -> float:
    _require_short(number)
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    return value


def from_plain(cls: type[T], values: Any, where: str = "") -> T:
    """Build a dataclass, and the dataclasses in it, from plain data.

    An int is accepted for a float. Nothing else is converted: "3" is not an int, and 1 is not a bool. Lists
    become tuples and mappings become dicts. NaN, infinity and integers beyond 64 bits are refused, except in
    a field of type Any.

    Args:
        cls: The dataclass.
        values: A mapping from field names to plain data. Fields with a default may be absent.
        where: Path of ``values`` in the whole, for messages; "" for the root.

    Returns:
        An instance of ``cls``.

    Raises:
        SettingError: A field is unknown, missing or of the wrong type, or ``__post_init__`` raised
            SettingError or ValueError. The message starts with the path, such as ``stages[1].image_size``.
    """
    hints, required = _fields(cast(Any, cls))
    values = _mapping(values, where)
    unknown = ", ".join(_join(where, name) for name in values if name not in hints)
    if unknown:
        raise _refusal(unknown, f"unknown; known: {', '.join(hints)}")
    missing = ", ".join(_join(where, name) for name in required if name not in values)
    if missing:
        raise _refusal(missing, "missing")
    fields = {name: _read(hints[name], value, _join(where, name)) for name, value in values.items()}
    try:
        return cls(**fields)
    except (SettingError, ValueError) as error:
        raise _refusal(where, str(error)) from error


@functools.cache
def _fields(cls: Any) -> tuple[dict[str, Any], list[str]]:
    """The types of a dataclass's fields by name, and the names of those without a default."""
    hints = get_type_hints(cls)
    fields = [field for field in dataclasses.fields(cls) if field.init]
    absent = (dataclasses.MISSING, dataclasses.MISSING)
    required = [field.name for field in fields if (field.default, field.default_factory) == absent]
    return {field.name: hints[field.name] for field in fields}, required


def _read(hint: Any, value: Any, where: str) -> Any:
    if hint is float and type(value) in (int, float):
        if abs(value) <= sys.float_info.max:
            return float(value)
        raise _refusal(where, f"expected a finite number, got {value!r:.60}")
    if hint is int and type(value) is int and abs(value) >= 2**63:
        raise _refusal(where, "expected an int of 64 bits")
    if hint is Any or (hint in (bool, int, str) and type(value) is hint):
        return value
    if hint in (bool, int, float, str):
        raise _refusal(where, f"expected {hint.__name__}, got {value!r:.60}")
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    kind, members = get_origin(hint), get_args(hint)
    if kind is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in members):
            raise _refusal(where, f"expected one of {', '.join(map(str, members))}, got {value!r:.60}")
        return value
    if kind is tuple:
        if not isinstance(value, list | tuple):
            raise _refusal(where, f"expected a list, got {value!r:.60}")
        hints = members[:1] * len(value) if members[-1] is Ellipsis else members
        if len(hints) != len(value):
            raise _refusal(where, f"expected {len(hints)} values, got {len(value)}")
        return tuple(_read(hints[i], item, f"{where}[{i}]") for i, item in enumerate(value))
    if kind in (Union, types.UnionType):
        if value is None and types.NoneType in members:
            return None
        others = [member for member in members if member is not types.NoneType]
        return _read(others[0] if len(others) == 1 else _member(others, value, where), value, where)
    key, item = members  # of a mapping
    return {
        _read(key, name, where): _read(item, part, _join(where, name))
        for name, part in _mapping(value, where).items()
    }


def _member(dataclass_types: list[Any], value: Any, where: str) -> Any:
    """The member of a union of dataclasses that the value's ``name`` picks."""
    by_name = {name: one for one in dataclass_types for name in get_args(_fields(one)[0]["name"])}
    name = _mapping(value, where).get("name", next(iter(by_name)))
    return by_name[_read(Literal[tuple(by_name)], name, _join(where, "name"))]


def _mapping(value: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise _refusal(where, f"expected a mapping, got {value!r:.60}")
    return value


def _join(where: str, name: Any) -> str:
    part = name if isinstance(name, str) and name.isidentifier() else f"[{name!r:.60}]"
    return f"{where}.{part}" if where and not part.startswith("[") else f"{where}{part}"


def _refusal(where: str, problem: str) -> SettingError:
    return SettingError(f"{where}: {problem}" if where else problem)

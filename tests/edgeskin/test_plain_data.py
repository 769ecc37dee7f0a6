"""Reading JSON and plain data: what each type accepts, and the path in each refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Optional

import pytest

from edgeskin.bundle.plain_data import from_plain, read_json
from edgeskin.errors import SettingError

pytestmark = pytest.mark.hazard("H-07")


@dataclass(frozen=True)
class Circle:
    name: Literal["circle"] = "circle"
    radius: float = 1.0

    def __post_init__(self) -> None:
        if self.radius < 0:
            raise ValueError("radius below 0")


@dataclass(frozen=True)
class Square:
    side: int
    name: Literal["square", "box"] = "square"

    def __post_init__(self) -> None:
        if self.side < 0:
            raise SettingError("side below 0")


@dataclass(frozen=True)
class Drawing:
    title: str
    shape: Circle | Square = field(default_factory=Circle)
    frame: Square | None = None
    parts: tuple[Square, ...] = ()
    size: tuple[int, float] = (1, 1.0)
    rows: tuple[tuple[float, ...], ...] = ()
    color: Literal["red", "blue"] = "red"
    counts: Mapping[str, int] = field(default_factory=dict)
    layers: dict[Literal["top", "base"], Circle] = field(default_factory=dict)
    opacity: Optional[float] = None  # noqa: UP045  (the older spelling has another origin)
    visible: bool = True
    notes: Any = None
    area: float = field(default=0.0, init=False)


def test_every_kind_of_field() -> None:
    values = {
        "title": "a",
        "shape": {"name": "box", "side": 3},
        "frame": {"side": 4},
        "parts": [{"side": 1}, {"side": 2, "name": "square"}],
        "size": [2, 3],
        "rows": [[1, 2.5], []],
        "color": "blue",
        "counts": {"x": 1, "a b": 2},
        "layers": {"top": {"radius": 2}},
        "opacity": 1,
        "visible": False,
        "notes": {"free": [float("nan")]},
    }
    drawing = from_plain(Drawing, values)
    assert drawing == Drawing(
        "a",
        Square(3, "box"),
        Square(4),
        (Square(1), Square(2)),
        (2, 3.0),
        ((1.0, 2.5), ()),
        "blue",
        {"x": 1, "a b": 2},
        {"top": Circle(radius=2.0)},
        1.0,
        visible=False,
        notes=values["notes"],
    )
    assert isinstance(drawing.size[1], float)
    assert isinstance(drawing.opacity, float)


def test_absent_fields_have_their_defaults() -> None:
    assert from_plain(Drawing, {"title": "a"}) == Drawing("a")
    assert from_plain(Drawing, {"title": "a", "frame": None}).frame is None


def test_a_union_reads_its_first_member_without_a_name() -> None:
    assert from_plain(Drawing, {"title": "a", "shape": {"radius": 2}}).shape == Circle(radius=2.0)


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ([], ""),
        (None, ""),
        ({}, "title"),
        ({"titel": "a"}, "titel"),
        ({"title": "a", "area": 1.0}, "area"),
        ({1: "a", "title": "a"}, r"\[1\]"),
        ({"title": "a", "parts": [{"side": 1}, {"side": 1, "sides": 2}]}, r"parts\[1\]\.sides"),
        ({"title": "a", "parts": [{}]}, r"parts\[0\]\.side"),
        ({"title": 3}, "title"),
        ({"title": None}, "title"),
        ({"title": "a", "parts": "abc"}, "parts"),
        ({"title": "a", "parts": {"side": 1}}, "parts"),
        ({"title": "a", "parts": [{"side": "1"}]}, r"parts\[0\]\.side"),
        ({"title": "a", "parts": [{"side": 1.0}]}, r"parts\[0\]\.side"),
        ({"title": "a", "parts": [{"side": True}]}, r"parts\[0\]\.side"),
        ({"title": "a", "frame": {"side": -1}}, "frame"),
        ({"title": "a", "shape": {"radius": -1}}, "shape"),
        ({"title": "a", "shape": {"radius": True}}, r"shape\.radius"),
        ({"title": "a", "shape": {"radius": "1"}}, r"shape\.radius"),
        ({"title": "a", "shape": {"radius": float("nan")}}, r"shape\.radius"),
        ({"title": "a", "shape": {"radius": float("inf")}}, r"shape\.radius"),
        ({"title": "a", "shape": {"radius": 10**400}}, r"shape\.radius"),
        ({"title": "a", "shape": {"name": "star"}}, r"shape\.name"),
        ({"title": "a", "shape": {"name": ["circle"]}}, r"shape\.name"),
        ({"title": "a", "shape": {"name": "square", "radius": 1}}, r"shape\.radius"),
        ({"title": "a", "shape": None}, "shape"),
        ({"title": "a", "size": [1]}, "size"),
        ({"title": "a", "size": [1.0, 1.0]}, r"size\[0\]"),
        ({"title": "a", "rows": [[1], ["x"]]}, r"rows\[1\]\[0\]"),
        ({"title": "a", "color": "green"}, "color"),
        ({"title": "a", "color": ["red"]}, "color"),
        ({"title": "a", "counts": [1]}, "counts"),
        ({"title": "a", "counts": {"x": "1"}}, r"counts\.x"),
        ({"title": "a", "counts": {"a b": "1"}}, r"counts\['a b'\]"),
        ({"title": "a", "counts": {1: 1}}, "counts"),
        ({"title": "a", "layers": {"side": {}}}, "layers"),
        ({"title": "a", "opacity": "1"}, "opacity"),
        ({"title": "a", "visible": 1}, "visible"),
    ],
)
def test_refused_with_the_path(values: Any, path: str) -> None:
    """The path of the field, below that of the whole if it has one."""
    with pytest.raises(SettingError, match=f"^{path}: " if path else r"^\w+ "):
        from_plain(Drawing, values)
    below = path if path.startswith(r"\[") or not path else rf"\.{path}"
    with pytest.raises(SettingError, match=rf"^a\.b{below}: "):
        from_plain(Drawing, values, "a.b")


def test_long_values_are_cut_in_the_message() -> None:
    with pytest.raises(SettingError) as caught:
        from_plain(Drawing, {"title": "a", "size": "x" * 10_000})
    assert len(str(caught.value)) < 120


def test_literals_of_equal_value_but_another_type() -> None:
    @dataclass(frozen=True)
    class Views:
        count: Literal[1, 8]

    assert from_plain(Views, {"count": 8}).count == 8
    with pytest.raises(SettingError, match=r"^count: .*1, 8"):
        from_plain(Views, {"count": True})


def test_integers_beyond_64_bits_are_refused() -> None:
    assert from_plain(Square, {"side": 2**63 - 1}).side == 2**63 - 1
    with pytest.raises(SettingError, match=r"^side: .*64 bits"):
        from_plain(Square, {"side": 2**63})


def test_json_that_says_one_thing_is_read() -> None:
    assert read_json(b'{"a": [1, 2.5, -1e308, null, true, "x"], "b": {"a": 1}}') == {
        "a": [1, 2.5, -1e308, None, True, "x"],
        "b": {"a": 1},
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"a": 1, "a": 1}', "repeats the key 'a'"),
        (b'{"b": {"x": 1, "a": 1, "a": 2}}', "repeats the key 'a'"),
        (b'{"a": 1, "\\u0061": 2}', "repeats the key 'a'"),
        (b'{"a": NaN}', "nan"),
        (b'{"a": [Infinity]}', "inf"),
        (b'{"a": -1e999}', "-inf"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"a":' * 10**5, "deep"),
        (b"[" * 10**5, "deep"),
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "deep"),
        (b"[]", "object"),
        (b'"a"', "object"),
        (b"", "Expecting"),
        (b"\xff", "decode"),
    ],
)
def test_other_json_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_json(content)

"""The properties of a HEIC file, built by hand from ISO/IEC 14496-12 and 23008-12."""

import contextlib
import struct

import numpy as np
import pytest

from edgeskin.errors import PhotoError
from edgeskin.photo.heic_boxes import HeicLayout, read_layout


def box(name: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), name) + content


def full(name: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(name, struct.pack(">I", version << 24 | flags) + content)


ISPE = full(b"ispe", struct.pack(">II", 400, 300))
OTHER = full(b"ispe", struct.pack(">II", 40, 30))
IROT, IROT_HALF = box(b"irot", b"\x01"), box(b"irot", b"\x02")
PIXI = full(b"pixi", b"\x03\x0a\x0a\x0a")
PROFILE = box(b"colr", b"profPROFILE")
NCLX = box(b"colr", b"nclx" + struct.pack(">HHHB", 12, 13, 6, 128))
CLAP = box(b"clap", struct.pack(">8I", 399, 1, 598, 2, 0, 1, 0, 1))
HVCC = box(b"hvcC", bytes(17) + b"\xf8\xfa" + bytes(4))


def heic(
    properties: list[bytes],
    places: list[int] | None = None,
    *,
    large_items: bool = False,
    large_places: bool = False,
    tail: bytes = b"",
) -> bytes:
    """A file whose item 2 is the primary one; item 1 has the first property alone."""
    places = list(range(1, len(properties) + 1)) if places is None else places
    item, place = ">I" if large_items else ">H", ">H" if large_places else ">B"
    essential = 0x8000 if large_places else 0x80
    entries = struct.pack(item, 1) + b"\x01" + struct.pack(place, 1)
    entries += struct.pack(item, 2) + bytes([len(places)])
    entries += b"".join(struct.pack(place, number | essential) for number in places)
    ipma = full(b"ipma", struct.pack(">I", 2) + entries, int(large_items), int(large_places))
    iprp = box(b"iprp", box(b"ipco", b"".join(properties)) + ipma)
    pitm = full(b"pitm", struct.pack(item, 2), int(large_items))
    return box(b"ftyp", b"heic\0\0\0\0mif1heic") + full(b"meta", pitm + iprp) + box(b"mdat", bytes(9)) + tail


@pytest.mark.parametrize("large_items", [False, True])
@pytest.mark.parametrize("large_places", [False, True])
def test_the_properties_of_the_primary_item_count(large_items: bool, large_places: bool) -> None:
    data = heic([OTHER, ISPE, PIXI, PROFILE], [2, 3, 4], large_items=large_items, large_places=large_places)
    assert read_layout(data) == HeicLayout(400, 300, 10, b"PROFILE", 2, 2)


@pytest.mark.parametrize(
    ("properties", "size"),
    [
        ([ISPE], (400, 300)),
        ([ISPE, IROT], (300, 400)),
        ([ISPE, IROT_HALF], (400, 300)),
        ([ISPE, CLAP], (399, 299)),
        ([ISPE, CLAP, IROT], (299, 399)),
    ],
)
def test_the_size_is_that_after_cropping_and_turning(properties: list[bytes], size: tuple[int, int]) -> None:
    layout = read_layout(heic(properties))
    assert (layout.width, layout.height) == size


def test_depth_and_labelled_colours() -> None:
    layout = read_layout(heic([ISPE, HVCC, NCLX]))
    assert (layout.bits, layout.primaries, layout.curve, layout.profile) == (10, 12, 13, b"")


def test_sizes_of_boxes_in_64_bits_and_up_to_the_end() -> None:
    whole = heic([ISPE])
    long = struct.pack(">I4sQ", 1, b"free", 20) + bytes(4)
    assert read_layout(whole + long) == read_layout(whole)
    assert read_layout(whole + struct.pack(">I4s", 0, b"free") + bytes(50)) == read_layout(whole)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (heic([ISPE])[:-1], "cut_off"),
        (heic([ISPE], tail=b"\0\0\0"), "cut_off"),
        (heic([ISPE], tail=struct.pack(">I4s", 7, b"free")), "damaged"),
        (heic([ISPE], tail=struct.pack(">I4sQ", 1, b"free", 15)), "damaged"),
        (heic([ISPE], tail=box(b"free") * 100_001), "damaged"),
        (heic([ISPE], [2]), "damaged"),
        (heic([ISPE, *[PIXI] * 1000], [1]), "damaged"),
        (heic([ISPE, box(b"clap", bytes(32))]), "damaged"),
        (heic([PIXI]), "unsupported_format"),
        (heic([ISPE], []), "unsupported_format"),
        (heic([full(b"ispe", bytes(8))]), "unsupported_format"),
        (box(b"ftyp", b"heic\0\0\0\0heic"), "unsupported_format"),
        (box(b"ftyp", b"heic\0\0\0\0heic") + full(b"meta", b""), "unsupported_format"),
        (box(b"ftyp", b"mif1\0\0\0\0avif") + full(b"meta", b""), "unsupported_format"),
    ],
)
def test_refused(data: bytes, code: str) -> None:
    with pytest.raises(PhotoError) as caught:
        read_layout(data)
    assert caught.value.code == code


def test_boxes_that_are_too_short_are_cut_off() -> None:
    names = (b"ispe", b"clap", b"hvcC", b"pixi")
    for short in (*(box(name, b"\0") for name in names), box(b"colr", b"nclx")):
        with pytest.raises(struct.error):
            read_layout(heic([ISPE, short]))


def test_random_damage_raises_nothing_else() -> None:
    rng = np.random.default_rng(0)
    whole = heic([OTHER, ISPE, IROT, PIXI, PROFILE, NCLX, CLAP, HVCC])
    for _ in range(4000):
        data = bytearray(whole)
        for place in rng.integers(28, len(whole), rng.integers(1, 5)):
            if rng.random() < 0.2:
                del data[place : place + rng.integers(1, 9)]
            elif place < len(data):
                data[place] = rng.choice([0, 1, 2, 8, 255, rng.integers(256)])
        with contextlib.suppress(PhotoError, struct.error):
            read_layout(bytes(data))

"""A tiny corpus on the micro-bundle; children that crash and hang; the tables by hand."""

import os
import random
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest

from benchmarks.robustness.corpus import (
    Outcome,
    compared,
    differs,
    forms_of,
    found_of,
    kinds_of,
    of_folder,
    outcomes,
    tallies,
)
from benchmarks.robustness.corpus_files import (
    bombs,
    damage,
    data_range,
    metadata,
    no_files,
    polyglots,
    refused_formats,
)
from benchmarks.robustness.corpus_pictures import FORMATS, WHOLE, Case, drawn_lesions, written
from edgeskin.photo.decode import load_photo
from tests.edgeskin.pictures import smooth

pytestmark = [
    pytest.mark.hazard("H-02", "H-18"),
    pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux counts it"),
]
PIXELS = smooth(120, 160)


def test_a_folder_is_tried_whole(shared_micro_bundle: Path, tmp_path: Path, lesion_jpg: Path) -> None:
    (tmp_path / "deep").mkdir()
    whole = lesion_jpg.read_bytes()
    (tmp_path / "deep" / "whole.JPG").write_bytes(whole)
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text").write_bytes(b"no picture")
    (tmp_path / "dangling").symlink_to("nowhere")
    tried = list(outcomes(of_folder(tmp_path), shared_micro_bundle))
    found = {case.source.name: outcome for case, outcome in tried if isinstance(case.source, Path)}
    assert {name: (one.code or "answered", one.format) for name, one in found.items()} == {
        "whole.JPG": ("answered", "jpeg"),
        "half.jpg": ("cut_off", ""),
        "text": ("unsupported_format", ""),
        "dangling": ("not_found", ""),
    }
    assert all(0 < one.seconds < 30 and 20 < one.peak_mb < 2000 for one in found.values())


def test_damage_is_compared_with_the_whole_file(shared_micro_bundle: Path) -> None:
    (pixels,) = drawn_lesions(1)
    whole = written(pixels, "BMP")
    half = bytearray(whole)
    half[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    speck = bytearray(whole)
    speck[5000:5030] = bytes(30)
    cases = [Case(WHOLE, "BMP", bytes(data), whole) for data in (whole, half, speck)]
    tried = [outcome for _, outcome in outcomes(cases, shared_micro_bundle)]
    assert [outcome.damaged for outcome in tried] == [False, True, False]


def crash_on_crash(connection: Connection, _: object) -> None:
    """Answer, but for inputs that say otherwise."""
    connection.send("ready")
    while True:
        case: Case = connection.recv()
        if case.kind == "crash":
            os.abort()
        if case.kind == "hang":
            time.sleep(60)
        connection.send(Outcome("assessed"))


def test_a_crash_or_hang_costs_one_input() -> None:
    cases = [Case(kind, "", b"") for kind in ("fine", "crash", "fine", "hang", "fine")]
    tried = outcomes(cases, "", seconds=1, serve=crash_on_crash)
    assert [one.status for _, one in tried] == ["assessed", "crashed", "assessed", "hung", "assessed"]


def test_what_differs() -> None:
    whole = np.zeros((100, 100, 3), np.uint8)
    changed = whole.copy()
    changed[0, :49, 1] = 17
    assert not differs(changed, whole)
    changed[0, 49] = 17
    assert differs(changed, whole)
    changed[0, 49] = 16
    assert not differs(changed, whole)
    assert differs(whole[:99], whole)  # 1% is missing
    assert not differs(whole, whole)


def test_the_table_by_hand() -> None:
    damaged = [
        (Case("holes", "PNG", b"", b""), Outcome("assessed", "", "png", "HIGH", True, 0.25, True, 0.5, 90)),
        (Case("holes", "PNG", b"", b""), Outcome("assessed", "", "png", "MEDIUM", True, 0.75, False, 2, 80)),
        (Case("holes", "BMP", b"", b""), Outcome("assessed", "", "bmp", "LOW", True, 0.9, True)),
        (Case("holes", "BMP", b"", b""), Outcome("assessed", "", "bmp", "HIGH", False, 0.0)),
        (Case("holes", "BMP", b"", b""), Outcome("retake", "", "bmp", "", True)),
        (Case("bombs", "PNG", b""), Outcome("error", "damaged", "png")),
        (Case("bombs", "PNG", b""), Outcome("crashed")),
        (Case("bombs", "PNG", b""), Outcome("hung")),
    ]
    content = {"command": "x", "machine": {"processor": "p", "threads": "1"}, **tallies(damaged)}
    kinds, forms, found = kinds_of(content), forms_of(content), found_of(content)
    assert list(kinds.rows) == [
        ("holes", "5", "5", "0", "0", "0", "2", "0.500", "0.750"),
        ("bombs", "3", "0", "1", "1", "1", "0", "", ""),
        ("**all**", "8", "5", "1", "1", "1", "2", "0.500", "0.750"),
    ]
    assert list(forms.rows) == [
        ("PNG", "2", "2", "0", "0", "0", "2", "0.500", "0.750", "2", "1"),
        ("BMP", "3", "3", "0", "0", "0", "0", "", "", "2", "0"),
    ]
    assert ("png, assessed", "2", "2.00", "90") in found.rows


def test_answers_are_compared_only_where_both_were_assessed() -> None:
    outcome = Outcome("error")
    assert compared(outcome, _Answer(None, None), _Answer(0.5, "HIGH"), True).change is None
    both = compared(outcome, _Answer(0.125, "LOW"), _Answer(0.5, "HIGH"), True)
    assert (both.change, both.lost, both.damaged) == (0.375, True, True)
    assert not compared(outcome, _Answer(0.125, "LOW"), _Answer(0.25, "LOW"), True).lost


class _Answer:
    def __init__(self, probability: float | None, risk: str | None) -> None:
        self.cancer_probability, self.risk = probability, risk


@pytest.mark.parametrize("form", FORMATS)
def test_whole_files_are_read_and_damage_is_in_their_data(form: str) -> None:
    whole = written(PIXELS, form)
    assert load_photo(whole, 224).width == 160
    start, end = data_range(whole)
    assert 0 < start < end <= len(whole)
    cases = list(damage(whole, form, random.Random(0)))
    kinds = [case.kind for case in cases if "tables" not in case.kind]
    assert len(set(kinds)) == len(kinds) >= 16
    for case in cases:
        assert isinstance(case.source, bytes)
        assert case.source != whole
        is_elsewhere = "end marker" in case.kind or "tables" in case.kind
        assert case.source[:start] == whole[:start] or is_elsewhere


def test_hostile_files_end_in_an_answer_or_an_error(shared_micro_bundle: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    cases = [*bombs(PIXELS), *refused_formats(PIXELS, rng), *no_files(tmp_path)]
    cases += [*polyglots(written(PIXELS, "PNG"), "PNG"), *list(metadata(PIXELS, rng))[::10]]
    tried = list(outcomes(cases, shared_micro_bundle))
    assert {one.status for _, one in tried} <= {"assessed", "retake", "out_of_scope", "error"}
    assert {one.status for case, one in tried if case.kind in ("other formats", "no regular file")} == {
        "error"
    }

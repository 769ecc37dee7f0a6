"""Many pictures into one table: order, going on after an end, errors that are tried again."""

import json
import os
import pickle
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeskin import Classifier, PatientContext, SettingError, __version__
from edgeskin.batch.ledger import ledger_folder
from edgeskin.batch.runner import (
    Part,
    PartSettings,
    Summary,
    assess_here,
    assess_part,
    count_photos,
    run,
)
from edgeskin.errors import EdgeskinError, ResourceError
from edgeskin.photo.listing import PhotoRef, list_photos

pytestmark = pytest.mark.hazard("H-14")

OLD = 1_600_000_000
PICTURES, BAD = 23, 7
"""Pictures of the folder, and the place of the one that is none."""


def written(path: Path, content: bytes) -> None:
    """A file that was last changed long ago, so that nobody waits for it."""
    path.write_bytes(content)
    os.utime(path, (OLD, OLD))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[PhotoRef]:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        image = rng.integers(60, 200, (70, 70, 3), dtype=np.uint8)
        content = cv2.imencode(".png", image)[1].tobytes() if number != BAD else b"no picture"
        written(folder / f"{number:02}.png", content)
    return list(list_photos([str(folder)]))


@pytest.fixture(scope="module")
def classifier(shared_micro_bundle: Path) -> Iterator[Classifier]:
    with Classifier(shared_micro_bundle, threads=2, workers=2, quality_gate=False) as opened:
        yield opened


@pytest.fixture(scope="module")
def part_settings(classifier: Classifier) -> PartSettings:
    return PartSettings(classifier, "jsonl")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def table(out: Path) -> list[dict[str, Any]]:
    """The results without their times."""
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [line | {"timing_ms": None} for line in lines]


def run_by(
    photos: Sequence[PhotoRef],
    part_settings: PartSettings,
    out: Path,
    parts: int | None = None,
    **options: Any,
) -> Summary:
    """Run to the end, or until so many parts are done. Parts have 5 pictures."""
    asked = iter(range(10**6))
    stop = {"should_stop": lambda: parts is not None and next(asked) >= parts}
    return run(iter(photos), part_settings, out, part_size=5, **stop, **options)


def test_one_row_a_picture_in_order(
    photos: list[PhotoRef], classifier: Classifier, part_settings: PartSettings, out: Path
) -> None:
    summary = run_by(photos, part_settings, out)
    rows = table(out)
    assert [one["image"] for one in rows] == [photo.name for photo in photos]
    assert [place for place, one in enumerate(rows) if one["status"] == "error"] == [BAD]
    assert rows[BAD]["error"]["message"].startswith(f"{photos[BAD].name}: ")
    assert "<bytes>" not in out.read_text(encoding="utf-8")
    for one in (0, PICTURES - 1):
        assert rows[one]["probabilities"] == classifier.assess(photos[one].path).probabilities
    assert (summary.pictures, summary.computed, summary.is_finished) == (PICTURES, PICTURES, True)
    assert summary.statuses == {"assessed": PICTURES - 1, "error": 1}
    assert summary.errors == {"unsupported_format": 1}
    assert summary.risks.total() == PICTURES - 1


@pytest.mark.parametrize("parts", range(5))
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_a_run_that_ended_goes_on(
    photos: list[PhotoRef], part_settings: PartSettings, tmp_path: Path, parts: int, form: Any
) -> None:
    of_form = replace(part_settings, form=form)
    clean, out = tmp_path / f"clean.{form}", tmp_path / f"out.{form}"
    run_by(photos, of_form, clean)
    first = run_by(photos, of_form, out, parts=parts)
    assert (first.is_finished, first.computed, out.exists()) == (False, 5 * parts, False)
    second = run_by(photos, of_form, out)
    assert (second.is_finished, second.computed) == (True, PICTURES - 5 * parts)
    assert second.statuses == {"assessed": PICTURES - 1, "error": 1}
    assert without_times(out) == without_times(clean)


def without_times(path: Path) -> Any:
    if path.suffix == ".jsonl":
        return table(path)
    if path.suffix == ".csv":
        lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
        place = lines[0].index("total_ms")
        return [[*line[:place], *line[place + 1 :]] for line in lines]
    parquet = pytest.importorskip("pyarrow.parquet")
    return parquet.read_table(path).drop_columns(["total_ms"])


def test_the_ledger_goes_unless_a_picture_failed(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path
) -> None:
    run_by(photos[:BAD], part_settings, out)
    assert list(out.parent.iterdir()) == [out]
    run_by(photos, part_settings, out)
    assert sorted(out.parent.iterdir()) == [out, ledger_folder(out)]


def test_errors_are_tried_again_on_request_alone(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, tmp_path: Path
) -> None:
    """A picture whose file is exchanged keeps its size and time here, so only its error is a reason."""
    copy = tmp_path / "copy.png"
    content = Path(photos[0].path).read_bytes()
    written(copy, bytes(len(content)))
    listed = [*photos[:BAD], PhotoRef("copy", str(copy)), *photos[BAD + 1 :]]
    assert run_by(listed, part_settings, out).statuses["error"] == 1
    written(copy, content)
    again = run_by(listed, part_settings, out)
    assert (again.computed, again.statuses["error"]) == (0, 1)
    retried = run_by(listed, part_settings, out, retry_errors=True)
    assert (retried.computed, retried.statuses) == (1, {"assessed": PICTURES})
    rows = table(out)
    assert rows[BAD]["image"] == "copy"
    assert rows[BAD]["probabilities"] == rows[0]["probabilities"]
    assert not ledger_folder(out).exists()


def test_changed_pictures_are_assessed_again(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.png"
    written(copy, Path(photos[0].path).read_bytes())
    listed = [*photos[:20], PhotoRef("copy", str(copy))]
    run_by(listed, part_settings, out)
    written(copy, Path(photos[1].path).read_bytes() + b"\0")
    again = run_by(listed, part_settings, out)
    assert again.computed == 1
    assert table(out)[-1]["probabilities"] != table(out)[0]["probabilities"]


def test_only_the_changed_picture_of_a_part_is_assessed_again(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, tmp_path: Path
) -> None:
    """The whole picture takes the place of a broken one, and the others keep their rows."""
    copy = tmp_path / "copy.png"
    written(copy, b"cut off")
    listed = [*photos[:2], PhotoRef("copy", str(copy)), *photos[3:6]]
    first = run_by(listed, part_settings, out)
    assert first.statuses["error"] == 1
    written(copy, Path(photos[2].path).read_bytes())
    again = run_by(listed, part_settings, out, retry_errors=True)
    assert (again.computed, again.statuses) == (1, {"assessed": 6})
    rows = table(out)
    assert [row["image"] for row in rows] == [photo.name for photo in listed]
    run_by(photos[:6], part_settings, out)
    assert [row["probabilities"] for row in rows] == [row["probabilities"] for row in table(out)]


def test_the_row_of_a_picture_that_changed_once_it_was_read_is_not_taken(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, tmp_path: Path
) -> None:
    """It is kept as a row of what was listed, not of what is there when it is kept."""
    copy, bad = tmp_path / "copy.png", photos[BAD]
    first, second = (Path(photos[place].path).read_bytes() for place in (0, 1))
    written(copy, first)

    def engine(parts: Iterator[Part], computed: Any) -> Any:
        for part, rows in assess_here(part_settings)(parts, computed):
            written(copy, second + b"\0")
            yield part, rows

    listed = [PhotoRef("copy", str(copy)), bad]
    run_by(listed, part_settings, out, engine=engine)
    before = table(out)[0]["probabilities"]
    assert run_by(listed, part_settings, out).computed == 1
    assert table(out)[0]["probabilities"] != before


def test_rows_of_other_pictures_are_refused(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path
) -> None:
    for wrong in (lambda rows: rows[::-1], lambda rows: rows[:-1], lambda rows: [*rows, rows[0]]):

        def engine(parts: Iterator[Part], computed: Any, wrong: Any = wrong) -> Any:
            for part, rows in assess_here(part_settings)(parts, computed):
                yield part, wrong(rows)

        with pytest.raises(EdgeskinError) as caught:
            run_by(photos[:3], part_settings, out, engine=engine)
        assert (caught.value.code, out.exists()) == ("internal", False)


@pytest.mark.parametrize(
    ("place", "name"),
    [(None, "instruction_set"), ("versions", "openvino"), ("versions", "opencv"), ("versions", "edgeskin")],
)
def test_rows_of_another_machine_or_version_are_refused(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, place: str | None, name: str
) -> None:
    run_by(photos, part_settings, out, parts=1)
    record = ledger_folder(out) / "run.json"
    job = json.loads(record.read_text())
    where = job if place is None else job[place]
    assert (
        where[name]
        == {
            "instruction_set": part_settings.classifier.assess(photos[0].path).model.isa,
            "openvino": version("openvino"),
            "opencv": cv2.__version__,
            "edgeskin": __version__,
        }[name]
    )
    where[name] = "another"
    record.write_text(json.dumps(job))
    with pytest.raises(SettingError, match=place or name):
        run_by(photos, part_settings, out)


@pytest.mark.parametrize(
    "change",
    [{"mc_samples": 3}, {"seed": 1}, {"context": PatientContext(age=30)}, {"form": "csv"}],
    ids=["sampling", "seed", "context", "form"],
)
def test_another_job_is_refused(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, change: dict[str, Any]
) -> None:
    run_by(photos, part_settings, out, parts=1)
    with pytest.raises(SettingError, match=r"results\.jsonl\.parts"):
        run_by(photos, replace(part_settings, **change), out)
    assert run_by(photos, part_settings, out).computed == PICTURES - 5


def test_another_bundle_or_gate_is_refused(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path, shared_micro_bundle: Path
) -> None:
    run_by(photos, part_settings, out, parts=1)
    for options in (
        {"precision": "fp32"},
        {"quality_gate": True},
        {"scope_gate": False},
        {"sensitivity": 0.9},
    ):
        other = Classifier(shared_micro_bundle, **{"quality_gate": False} | options)
        with other, pytest.raises(SettingError):
            run_by(photos, PartSettings(other, "jsonl"), out)


def test_ages_and_sites_of_a_list_select_limitations(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path
) -> None:
    """Each of the two takes the place of the command's, whether the row has the other or not."""
    listed = [
        photos[0],
        replace(photos[1], age=30.0),
        replace(photos[2], site="palms/soles"),
        replace(photos[3], age=30.0, site="palms/soles"),
    ]
    run_by(listed, replace(part_settings, context=PatientContext(age=70, site="nail")), out)
    codes = [{one["code"] for one in row["limitations"]} for row in table(out)]
    always = {"skin_tone", "amelanotic_melanoma"}
    assert [one - always for one in codes] == [
        {"site_nail"},
        {"age_under_40", "site_nail"},
        {"site_palms_soles"},
        {"age_under_40", "site_palms_soles"},
    ]


def test_labels_give_an_evaluation(photos: list[PhotoRef], part_settings: PartSettings, out: Path) -> None:
    labelled = [replace(photo, label="MEL" if place % 2 else "NV") for place, photo in enumerate(photos[:20])]
    run_by([*labelled, *photos[20:]], part_settings, out, parts=2)
    of = run_by([*labelled, *photos[20:]], part_settings, out).evaluation
    assert of is not None
    assert (of.labelled, of.cancers, of.benign, of.unassessed_cancers) == (20, 9, 10, 1)
    found = [row["risk"] != "LOW" for row in table(out)[1:20:2] if row["risk"]]
    assert of.sensitivity is not None
    assert of.sensitivity.value == pytest.approx(sum(found) / 9)


def test_progress_ends_at_all_pictures(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path
) -> None:
    shown: list[tuple[int, int]] = []
    run_by(photos, part_settings, out, progress=lambda done, computed: shown.append((done, computed)))
    assert shown == sorted(shown)
    assert shown[-1] == (PICTURES, PICTURES)
    assert len(shown) == PICTURES


def test_a_table_that_cannot_be_written_loses_nothing(
    photos: list[PhotoRef], part_settings: PartSettings, out: Path
) -> None:
    out.mkdir()
    with pytest.raises(ResourceError) as caught:
        run_by(photos, part_settings, out)
    assert caught.value.code == "not_written"
    out.rmdir()
    assert run_by(photos, part_settings, out).computed == 0


def test_no_pictures_are_an_error_that_leaves_nothing(part_settings: PartSettings, out: Path) -> None:
    with pytest.raises(SettingError):
        run_by([], part_settings, out)
    assert list(out.parent.iterdir()) == []
    with pytest.raises(SettingError):
        count_photos([])


def test_counting_checks_ages_and_sites(photos: list[PhotoRef]) -> None:
    assert count_photos(iter(photos)) == PICTURES
    for changed in (replace(photos[3], age=200.0), replace(photos[3], site="moon")):
        with pytest.raises(SettingError, match=Path(photos[3].name).name):
            count_photos([*photos[:3], changed])
    listed = [
        replace(photos[number], site=site, age=age, row=f"list.csv: row {number}")
        for number, (site, age) in enumerate([("moon", None), ("nail", -4), ("mars", 30), ("moon", 200)])
    ]
    with pytest.raises(SettingError) as caught:
        count_photos(listed)
    for once in ("row 0: site 'moon'", "row 1: age -4", "row 2: site 'mars'", "row 3: age 200"):
        assert str(caught.value).count(once) == 1
    assert str(caught.value).count("moon") == 1


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations(range(PICTURES)), st.lists(st.integers(0, 4), max_size=3))
def test_any_order_and_any_ends_give_the_same_table(
    photos: list[PhotoRef],
    part_settings: PartSettings,
    tmp_path_factory: pytest.TempPathFactory,
    order: list[int],
    ends: list[int],
) -> None:
    out = tmp_path_factory.mktemp("any") / "results.jsonl"
    listed = [photos[place] for place in order]
    for parts in ends:
        run_by(listed, part_settings, out, parts=parts)
    run_by(listed, part_settings, out)
    assert [one["image"] for one in table(out)] == [photo.name for photo in listed]


def test_a_part_is_a_function_of_pictures_and_settings(
    photos: list[PhotoRef], part_settings: PartSettings
) -> None:
    """As engines call it that do not share this process."""
    copy = pickle.loads(pickle.dumps(part_settings))
    some = random.Random(0).sample(photos, 5)
    first, second = (
        [row | {"timing_ms": None} for row in assess_part(some, one)] for one in (part_settings, copy)
    )
    copy.classifier.close()
    assert first == second
    assert [row["image"] for row in first] == [photo.name for photo in some]

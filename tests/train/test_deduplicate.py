"""Merging archives: copies once, near-duplicates in one group, on one side of the split."""

import csv
import runpy
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.distance import cosine
from typer.testing import CliRunner

from edgeskin.bundle.bundle import open_bundle
from edgeskin.imaging.preprocess import preprocess
from edgeskin.network.engine import Engine
from edgeskin.photo.decode import load_photo
from tests.conftest import ROOT
from train.cli import app
from train.data.deduplicate import concatenate_archives, link_groups, merge_archives, write_index
from train.data.readers import DataError
from train.data.table import Sample, check_disjoint, read_table

pytestmark = pytest.mark.hazard("H-21")


def archive(folder: Path, label: str, **pictures: np.ndarray) -> Path:
    """A folder a class, of one class."""
    (folder / label).mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        assert cv2.imwrite(str(folder / label / f"{name}.png"), picture)
    return folder


@pytest.fixture(scope="module")
def drawn(lesion_folder: Path) -> list[np.ndarray]:
    """One drawn lesion of each class."""
    return [cv2.imread(str(path)) for path in sorted(lesion_folder.glob("train/*/*_0.png"))]


def test_a_copy_rotated_resized_and_compressed_is_found(drawn: list[np.ndarray], tmp_path: Path) -> None:
    folder = archive(tmp_path, "NV", **{f"drawn{i}": picture for i, picture in enumerate(drawn)})
    rotated = cv2.resize(np.rot90(drawn[2]), (150, 150))
    _, compressed = cv2.imencode(".jpg", rotated, [cv2.IMWRITE_JPEG_QUALITY, 50])
    (folder / "NV" / "other.jpg").write_bytes(compressed.tobytes())
    merged = merge_archives(read_table(folder), open_bundle())
    ((one, other, _),) = merged.pairs
    assert {one.image_id, other.image_id} == {"drawn2", "other"}
    grouped = {s.image_id: s.group for s in merged.samples}
    assert grouped["other"] == grouped["drawn2"] == "drawn2"
    assert len(set(grouped.values())) == len(drawn)


def test_near_by_the_hash_alone_is_no_duplicate(
    drawn: list[np.ndarray], tmp_path: Path, shared_micro_bundle: Path
) -> None:
    samples = read_table(archive(tmp_path, "NV", one=drawn[0], other=drawn[1]))
    bundle = open_bundle(shared_micro_bundle)
    ((_, _, pair),) = merge_archives(samples, bundle, max_hash_distance=256, max_feature_distance=2).pairs
    nearer = pair.feature_distance / 2
    assert merge_archives(samples, bundle, max_hash_distance=256, max_feature_distance=nearer).pairs == []
    fewer = pair.hash_distance - 1
    assert merge_archives(samples, bundle, max_hash_distance=fewer, max_feature_distance=2).pairs == []


def test_pictures_of_one_group_are_not_paired(drawn: list[np.ndarray], tmp_path: Path) -> None:
    one, other = read_table(archive(tmp_path, "NV", one=drawn[0], other=drawn[0]))
    bundle = open_bundle()
    assert merge_archives([one, replace(other, group=one.group)], bundle).pairs == []
    ((_, _, pair),) = merge_archives([one, other], bundle).pairs
    assert (pair.hash_distance, pair.feature_distance) == (0, pytest.approx(0, abs=1e-6))


def test_feature_distance_is_scipys_cosine(
    drawn: list[np.ndarray], tmp_path: Path, shared_micro_bundle: Path
) -> None:
    samples = read_table(archive(tmp_path, "NV", one=drawn[0], other=drawn[1]))
    bundle = open_bundle(shared_micro_bundle)
    ((_, _, pair),) = merge_archives(samples, bundle, max_hash_distance=256, max_feature_distance=2).pairs
    settings = bundle.manifest.preprocessing
    engine = Engine(bundle.ir("int8"))
    one, other = (preprocess(load_photo(s.image, settings.size).image, settings) for s in samples)
    views = [np.rot90(side, quarters) for side in (other, other[:, ::-1]) for quarters in range(4)]
    feature, *features = (engine.infer(np.ascontiguousarray(view)).features[0] for view in (one, *views))
    assert min(abs(pair.feature_distance - cosine(feature, of_view)) for of_view in features) < 1e-5


def chain(*groups: str) -> list[Sample]:
    nothing = {"patient_id": None, "age": None, "sex": None, "site": None, "dx_type": None}
    return [
        Sample(Path(name), name, "NV", name, group=name, split=None, source="", **nothing) for name in groups
    ]


def test_groups_merge_along_a_chain() -> None:
    samples = chain("d", "b", "c", "a", "e")
    assert [s.group for s in link_groups(samples, [0, 2], [2, 1])] == ["b", "b", "b", "a", "e"]
    assert link_groups(samples, [], []) == samples


def test_the_same_picture_in_two_archives_counts_once_in_the_groups_of_both(
    drawn: list[np.ndarray], tmp_path: Path, shared_micro_bundle: Path
) -> None:
    """The second archive knows that x, y and z are one lesion; the first knew x and y only as files."""
    bundle = open_bundle(shared_micro_bundle)
    one = read_table(archive(tmp_path / "a", "NV", x=drawn[0], y=drawn[1]))
    second = read_table(archive(tmp_path / "b", "NV", x=drawn[0], y=drawn[1], z=drawn[2]))
    second = [replace(sample, group="L", lesion_id="L") for sample in second]
    merged = merge_archives([*one, *second], bundle, max_feature_distance=-1)
    assert merged.copies == 2
    assert [(s.image_id, s.group) for s in merged.samples] == [("x", "L"), ("y", "L"), ("z", "L")]
    assert merged.samples[0].image == one[0].image


def test_one_name_for_different_pictures_labels_or_splits(
    drawn: list[np.ndarray], tmp_path: Path, shared_micro_bundle: Path
) -> None:
    bundle = open_bundle(shared_micro_bundle)
    one, other = (read_table(archive(tmp_path / name, "NV", same=drawn[0])) for name in ("a", "b"))
    with pytest.raises(DataError, match="the labels NV and MEL"):
        merge_archives([*one, replace(other[0], label="MEL")], bundle)
    kept = merge_archives([*one, replace(other[0], label="MEL")], bundle, first_label_counts=True)
    assert [s.label for s in kept.samples] == ["NV"]
    with pytest.raises(DataError, match="the splits train and test"):
        merge_archives([replace(one[0], split="train"), replace(other[0], split="test")], bundle)
    different = read_table(archive(tmp_path / "c", "NV", same=drawn[3]))
    with pytest.raises(DataError, match="image id same but are different pictures"):
        merge_archives([*one, *different], bundle)


def test_external_images_near_others_are_left_out(
    drawn: list[np.ndarray], tmp_path: Path, shared_micro_bundle: Path
) -> None:
    samples = read_table(archive(tmp_path, "NV", copy=drawn[0], far=drawn[3], here=drawn[0]))
    split = {"copy": "external", "far": "external", "here": "train"}
    merged = merge_archives(
        [replace(s, split=split[s.image_id]) for s in samples], open_bundle(shared_micro_bundle)
    )
    assert [s.image_id for s in merged.left_out] == ["copy"]
    assert [s.image_id for s in merged.samples] == ["far", "here"]


def test_a_written_index_reads_as_it_was(lesion_folder: Path, tmp_path: Path) -> None:
    samples = [replace(s, age=40.0, sex="female", dx_type="histo") for s in read_table(lesion_folder)]
    write_index(samples, tmp_path)
    read = read_table(tmp_path)
    assert [replace(s, image=s.image.resolve()) for s in read] == [
        replace(s, image=s.image.resolve()) for s in samples
    ]


def test_command(tmp_path: Path) -> None:
    """Archives without splits are split so that each near-duplicate stays with its picture."""
    draw_lesion = runpy.run_path(str(ROOT / "examples" / "draw_lesion.py"))["draw_lesion"]
    rng = np.random.default_rng(1)
    drawn = {f"{label}{i}": draw_lesion(label, rng, 96) for label in ("BCC", "NV") for i in range(22)}
    for name, picture in drawn.items():
        archive(tmp_path / "a", name.rstrip("0123456789"), **{name: picture})
    copied = ("BCC3", "NV4", "BCC5", "NV6")
    for name in copied:
        archive(tmp_path / "b", name[:-1], **{f"copy_of_{name}": drawn[name][::-1]})
    folders = [str(tmp_path / name) for name in ("a", "b")]
    result = CliRunner().invoke(app, ["merge", *folders, "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    table = read_table(tmp_path / "out")
    check_disjoint(table)
    split_of = {s.image_id: s.split for s in table}
    assert len(table) == len(drawn) + len(copied)
    assert all(split_of[f"copy_of_{name}"] == split_of[name] for name in copied)
    with (tmp_path / "out" / "near_duplicates.csv").open(newline="", encoding="utf-8") as file:
        rows = [{row["image_id_one"], row["image_id_other"]} for row in csv.DictReader(file)]
    assert all({name, f"copy_of_{name}"} in rows for name in copied)


def test_near_duplicates_on_two_sides_are_refused(lesion_folder: Path, tmp_path: Path) -> None:
    source = lesion_folder / "test" / "MEL" / "test_MEL_0.png"
    archive(tmp_path / "train", "MEL", copy=cv2.imread(str(source)))
    folders = [str(lesion_folder), str(tmp_path)]
    result = CliRunner().invoke(app, ["merge", *folders, "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, DataError)
    assert "groups on more than one side of the split" in str(result.exception)
    assert (tmp_path / "out" / "near_duplicates.csv").is_file()
    assert not (tmp_path / "out" / "index.csv").exists()


def test_trusted_groups_are_kept_without_a_search(lesion_folder: Path, tmp_path: Path) -> None:
    """Splits and groups stay, also of a copy under another name. Images kept apart are left out."""
    samples = read_table(lesion_folder)
    (tmp_path / "a").mkdir()
    write_index(samples, tmp_path / "a")
    own = {"image_id": "copy", "lesion_id": "L", "group": "L"}
    others = [replace(samples[0], **own), replace(samples[1], image_id="apart", split="external")]
    (tmp_path / "b").mkdir()
    write_index(others, tmp_path / "b")
    folders = [str(tmp_path / name) for name in ("a", "b")]
    result = CliRunner().invoke(app, ["merge", *folders, "--out", str(tmp_path / "out"), "--trust-groups"])
    assert result.exit_code == 0, result.output
    table = read_table(tmp_path / "out")
    expected = [*samples, others[0]]
    assert [(s.image_id, s.split, s.group, s.label) for s in table] == [
        (s.image_id, s.split, s.group, s.label) for s in expected
    ]
    assert not (tmp_path / "out" / "near_duplicates.csv").exists()


def test_trusted_groups_with_an_image_id_twice(lesion_folder: Path) -> None:
    samples = read_table(lesion_folder)
    with pytest.raises(DataError, match=f"1 image ids occur more than once, such as {samples[3].image_id};"):
        concatenate_archives([*samples, samples[3]])

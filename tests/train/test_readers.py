"""The five layouts as tiny folders, and every refusal."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin.taxonomy import ISIC_2019
from train.data.readers import DataError, read_class_folders
from train.data.table import Sample, known, read_table, select

pytestmark = pytest.mark.hazard("H-22")

INDEX = [
    "path",
    "image_id",
    "dataset",
    "label",
    "split",
    "group_id",
    "lesion_id",
    "patient_id",
    "age",
    "sex",
    "site",
    "dx_type",
]
HAM = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
ISIC_TRUTH = ["image", *ISIC_2019, "UNK"]
ISIC_METADATA = ["image", "age_approx", "anatom_site_general", "lesion_id", "sex"]
PAD = ["patient_id", "lesion_id", "img_id", "diagnostic", "age", "gender", "region"]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((8, 8, 3), 128, dtype=np.uint8))
    return path


def table(path: Path, columns: list[str], *rows: str) -> Path:
    """Write a csv file whose rows are given as text, one comma between two cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *(row.split(",") for row in rows)])
    return path


def index(folder: Path, *rows: str) -> Path:
    """An index.csv of rows with a picture each."""
    for row in rows:
        picture(folder / row.split(",")[0])
    table(folder / "index.csv", INDEX, *rows)
    return folder


def ham(folder: Path, *rows: str) -> Path:
    for row in rows:
        picture(folder / "HAM10000_images_part_1" / f"{row.split(',')[1]}.jpg")
    table(folder / "HAM10000_metadata.csv", HAM, *rows)
    return folder


def isic(folder: Path, part: str, *rows: str) -> Path:
    """ISIC 2019 with rows of ``image,MEL,…,UNK`` and metadata that name only the lesion."""
    names = [row.split(",")[0] for row in rows]
    for name in names:
        picture(folder / f"ISIC_2019_{part}_Input" / f"{name}.jpg")
    table(folder / f"ISIC_2019_{part}_GroundTruth.csv", ISIC_TRUTH, *rows)
    metadata = (f"{name},,,lesion of {name}," for name in names)
    table(folder / f"ISIC_2019_{part}_Metadata.csv", ISIC_METADATA, *metadata)
    return folder


def one_hot(name: str, *columns: int) -> str:
    return ",".join([name, *("1.0" if i in columns else "0.0" for i in range(9))])


# Layouts


def test_index_reads_every_column(tmp_path: Path) -> None:
    folder = index(tmp_path, "ham/A.jpg,A,HAM10000,NV,train,G1,L1,P1,45.0,MALE,Trunk,histo")
    assert read_table(folder) == [
        Sample(
            image=tmp_path / "ham" / "A.jpg",
            image_id="A",
            label="NV",
            lesion_id="L1",
            patient_id="P1",
            group="G1",
            age=45.0,
            sex="male",
            site="trunk",
            dx_type="histo",
            split="train",
            source="HAM10000",
        )
    ]


def test_index_fills_what_is_missing(tmp_path: Path) -> None:
    (sample,) = read_table(index(tmp_path, "A.jpg,A,HAM10000,NV,,,,,,unknown,,"))
    assert (sample.lesion_id, sample.group) == ("A", "A")
    assert (sample.patient_id, sample.age, sample.sex, sample.site, sample.dx_type) == (None,) * 5
    assert sample.split is None


def test_index_keeps_other_labels_and_full_size_copies_apart(tmp_path: Path) -> None:
    folder = index(
        tmp_path,
        "A.jpg,A,HAM10000,MEL,test,L1,L1,,,,,",
        "full/A.jpg,A,HAM10000,MEL,original:test,L1,L1,,,,,",
        "B.jpg,B,ISIC2020,BENIGN,external,B,,,,,,",
        "C.jpg,C,PAD-UFES-20,BCC,external,C,,,,,,",
        "D.jpg,D,objects,OOD,ood_val,D,,,,,,",
    )
    samples = read_table(folder)
    assert [s.image_id for s in select(samples, "test")] == ["A"]
    assert [s.label for s in select(samples, "external")] == ["BENIGN", "BCC"]
    assert [s.label for s in known(select(samples, "external"), ISIC_2019)] == ["BCC"]


def test_relative_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(tmp_path / "data", "A.jpg,A,HAM10000,NV,,,,,,,,")
    monkeypatch.chdir(tmp_path)
    (sample,) = read_table(Path("data"))
    assert sample.image == tmp_path / "data" / "A.jpg"


@pytest.mark.parametrize("name", ["HAM10000_metadata.csv", "HAM10000_metadata"])
def test_ham10000_codes(tmp_path: Path, name: str) -> None:
    codes = {"akiec": "AK", "bcc": "BCC", "bkl": "BKL", "df": "DF", "mel": "MEL", "nv": "NV", "vasc": "VASC"}
    rows = [f"L{i},I{i},{dx},histo,80.0,female,unknown" for i, dx in enumerate(codes)]
    folder = ham(tmp_path, *rows)
    (folder / "HAM10000_metadata.csv").rename(folder / name)
    samples = read_table(folder)
    assert [s.label for s in samples] == list(codes.values())
    first = samples[0]
    assert (first.lesion_id, first.group, first.patient_id, first.split) == ("L0", "L0", None, None)
    assert (first.age, first.sex, first.site, first.dx_type) == (80.0, "female", None, "histo")
    assert first.source == "HAM10000"


def test_ham10000_looks_in_both_parts_and_any_subfolder(tmp_path: Path) -> None:
    folder = ham(
        tmp_path, "L1,I1,nv,histo,,male,back", "L2,I2,nv,histo,,male,back", "L3,I3,nv,histo,,male,back"
    )
    part_1 = folder / "HAM10000_images_part_1"
    for name, elsewhere in (("I2.jpg", "HAM10000_images_part_2"), ("I3.jpg", "some/where")):
        (folder / elsewhere).mkdir(parents=True)
        (part_1 / name).rename(folder / elsewhere / name)
    # A second copy, as Kaggle's archive has it, and a lesion mask with the name of the picture.
    picture(folder / "ham10000_images_part_1" / "I1.jpg")
    picture(folder / "masks" / "I1.png")
    found = [s.image.relative_to(folder).as_posix() for s in read_table(folder)]
    assert found == ["HAM10000_images_part_1/I1.jpg", "HAM10000_images_part_2/I2.jpg", "some/where/I3.jpg"]


def test_isic_2019_training(tmp_path: Path) -> None:
    folder = isic(tmp_path, "Training", *(one_hot(f"ISIC_{i}", i) for i in range(8)))
    table(
        folder / "ISIC_2019_Training_Metadata.csv",
        ISIC_METADATA,
        "ISIC_0,55.0,anterior torso,BCN_1,female",
        *(f"ISIC_{i},,,," for i in range(1, 8)),
    )
    samples = read_table(folder)
    assert tuple(s.label for s in samples) == ISIC_2019
    assert {s.split for s in samples} == {None}
    first, second = samples[:2]
    assert (first.lesion_id, first.age, first.site, first.sex) == ("BCN_1", 55.0, "anterior torso", "female")
    assert (second.lesion_id, second.group, second.age, second.site) == ("ISIC_1", "ISIC_1", None, None)


def test_isic_2019_test_set_is_external_and_unk_is_no_class(tmp_path: Path) -> None:
    isic(tmp_path, "Training", one_hot("ISIC_1", 0))
    isic(tmp_path, "Test", one_hot("ISIC_2", 2), one_hot("ISIC_3", 8))
    # As published: two columns of weights in the truth, no lesions in the metadata.
    weighted = [f"{one_hot('ISIC_2', 2)},1.0,0.0", f"{one_hot('ISIC_3', 8)},0.0,1.0"]
    columns = [*ISIC_TRUTH, "score_weight", "validation_weight"]
    table(tmp_path / "ISIC_2019_Test_GroundTruth.csv", columns, *weighted)
    columns = ["image", "age_approx", "anatom_site_general", "sex"]
    table(tmp_path / "ISIC_2019_Test_Metadata.csv", columns, "ISIC_2,30.0,,male", "ISIC_3,,,")
    samples = {s.image_id: (s.label, s.split, s.lesion_id) for s in read_table(tmp_path)}
    assert samples == {
        "ISIC_1": ("MEL", None, "lesion of ISIC_1"),
        "ISIC_2": ("BCC", "external", "ISIC_2"),
        "ISIC_3": ("UNK", "unknown", "ISIC_3"),
    }
    assert [s.image_id for s in known(read_table(tmp_path), ISIC_2019)] == ["ISIC_2", "ISIC_1"]


def test_pad_ufes_20_codes_and_patients(tmp_path: Path) -> None:
    codes = {"ACK": "AK", "BCC": "BCC", "MEL": "MEL", "NEV": "NV", "SCC": "SCC", "SEK": "BKL"}
    rows = [f"PAT_1,{i},PAT_1_{i}_9.png,{code},61,FEMALE,NECK" for i, code in enumerate(codes)]
    for row in rows:
        picture(tmp_path / "imgs_part_1" / row.split(",")[2])
    table(tmp_path / "metadata.csv", PAD, *rows)
    samples = read_table(tmp_path)
    assert [s.label for s in samples] == list(codes.values())
    assert {s.group for s in samples} == {s.patient_id for s in samples} == {"PAT_1"}
    first = samples[0]
    assert (first.image_id, first.lesion_id, first.split) == ("PAT_1_0_9", "PAT_1_L0", None)
    assert (first.age, first.sex, first.site, first.source) == (61.0, "female", "neck", "PAD-UFES-20")


def test_class_folders(tmp_path: Path) -> None:
    picture(tmp_path / "MEL" / "a.jpg")
    picture(tmp_path / "NV" / "deeper" / "b.PNG")
    (tmp_path / "NV" / "notes.txt").write_text("no picture")
    samples = read_table(tmp_path)
    assert [(s.image_id, s.label, s.group, s.split) for s in samples] == [
        ("a", "MEL", "a", None),
        ("b", "NV", "b", None),
    ]
    assert {s.source for s in samples} == {tmp_path.name}


def test_class_folders_under_splits(tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        picture(tmp_path / split / "MEL" / f"{split}.jpg")
    samples = read_table(tmp_path)
    assert [(s.image_id, s.split) for s in samples] == [(s, s) for s in ("train", "val", "test")]


@pytest.mark.parametrize("splits", [True, False])
def test_files_of_operating_systems_are_passed_over_and_counted(
    tmp_path: Path, splits: bool, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "train" if splits else tmp_path
    picture(folder / "MEL" / "a.jpg")
    (tmp_path / "__MACOSX" / "MEL").mkdir(parents=True)
    left = [folder / "MEL" / name for name in ("._a.jpg", "Thumbs.db", ".DS_Store", "notes.txt")]
    for path in [*left, tmp_path / "__MACOSX" / "MEL" / "._a.jpg"]:
        path.write_bytes(b"\0\5\x16\7")
    assert [sample.image.name for sample in read_table(tmp_path)] == ["a.jpg"]
    (record,) = caplog.records
    assert record.args == (tmp_path, 4 if splits else 5)  # __MACOSX lies beside the split's folder


def test_formats_that_are_not_read_are_rows_all_the_same(tmp_path: Path) -> None:
    picture(tmp_path / "MEL" / "a.jpg")
    for name in ("b.heic", "c.dng", "d.gif"):
        (tmp_path / "MEL" / name).write_bytes(b"x")
    assert [sample.image.name for sample in read_table(tmp_path)] == ["a.jpg", "b.heic", "c.dng", "d.gif"]


def test_class_list_of_the_users_own(tmp_path: Path) -> None:
    picture(tmp_path / "wart" / "a.jpg")
    (sample,) = read_table(tmp_path, classes=["wart", "mole"])
    assert sample.label == "wart"


# Refusals


def test_unknown_layout_names_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no known layout.*index\.csv.*HAM10000_metadata.*ISIC_2019.*MEL, NV"
    ):
        read_table(tmp_path)


def test_layouts_are_tried_in_order(tmp_path: Path) -> None:
    ham(tmp_path, "L1,I1,nv,histo,,male,back")
    index(tmp_path, "A.jpg,A,HAM10000,MEL,,,,,,,,")
    assert [s.image_id for s in read_table(tmp_path)] == ["A"]


def test_empty_table(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"index\.csv: no images"):
        read_table(index(tmp_path))


def test_empty_class_folders(tmp_path: Path) -> None:
    (tmp_path / "MEL").mkdir()
    with pytest.raises(DataError, match="no images"):
        read_table(tmp_path)


@pytest.mark.parametrize("layout", ["index", "ham", "isic", "pad"])
def test_missing_image(tmp_path: Path, layout: str) -> None:
    if layout == "index":
        index(tmp_path, "A.jpg,A,HAM10000,NV,,,,,,,,")
    elif layout == "ham":
        ham(tmp_path, "L1,A,nv,histo,,male,back")
    elif layout == "isic":
        isic(tmp_path, "Training", one_hot("A", 0))
    else:
        picture(tmp_path / "imgs" / "A.jpg")
        table(tmp_path / "metadata.csv", PAD, "P,1,A.jpg,MEL,,,")
    assert read_table(tmp_path)
    next(tmp_path.rglob("A.jpg")).unlink()
    with pytest.raises(DataError, match=r"image files missing \(1\): .*A\.jpg"):
        read_table(tmp_path)


def test_long_lists_of_offenders_are_cut(tmp_path: Path) -> None:
    rows = [f"{i:03}.jpg,{i:03},HAM10000,NV,,,,,,,," for i in range(25)]
    for row in rows:
        index(tmp_path, row)
        (tmp_path / row.split(",")[0]).unlink()
    table(tmp_path / "index.csv", INDEX, *rows)
    with pytest.raises(DataError, match=r"\(25\)") as error:
        read_table(tmp_path)
    assert str(error.value).count(".jpg") == 20


@pytest.mark.parametrize("split", ["train", "val", "test", ""])
def test_index_label_outside_the_classes(tmp_path: Path, split: str) -> None:
    with pytest.raises(DataError, match=r"labels outside the classes.*'BENIGN' of A"):
        read_table(index(tmp_path, f"A.jpg,A,ISIC2020,BENIGN,{split},,,,,,,"))


def test_unknown_label_in_ham10000(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'scar' of I1"):
        read_table(ham(tmp_path, "L1,I1,scar,histo,,male,back"))


def test_unknown_label_in_pad_ufes_20(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    table(tmp_path / "metadata.csv", PAD, "P1,1,a.png,BOD,61,FEMALE,NECK")
    with pytest.raises(DataError, match="'BOD' of a"):
        read_table(tmp_path)


def test_unknown_class_folder(tmp_path: Path) -> None:
    picture(tmp_path / "MEL" / "a.jpg")
    picture(tmp_path / "mole" / "b.jpg")
    with pytest.raises(DataError, match="'mole' of b"):
        read_table(tmp_path)


def test_class_folders_beside_splits(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "MEL" / "a.jpg")
    picture(tmp_path / "validation" / "MEL" / "b.jpg")
    with pytest.raises(DataError, match=r"folders beside.*validation"):
        read_class_folders(tmp_path)


@pytest.mark.parametrize(
    "row",
    [one_hot("bad"), one_hot("bad", 0, 3), one_hot("bad", 0, 8), one_hot("bad", 0).replace("1.0", "0.5")],
    ids=["all zero", "two classes", "class and UNK", "half"],
)
def test_isic_2019_row_that_is_not_one_hot(tmp_path: Path, row: str) -> None:
    with pytest.raises(DataError, match=r"exactly one class \(1\): bad;"):
        read_table(isic(tmp_path, "Training", one_hot("good", 1), row))


def test_isic_2019_without_metadata(tmp_path: Path) -> None:
    isic(tmp_path, "Training", one_hot("A", 0), one_hot("B", 1))
    metadata = table(tmp_path / "ISIC_2019_Training_Metadata.csv", ISIC_METADATA, "A,,,,")
    with pytest.raises(DataError, match=r"no metadata for images \(1\): B"):
        read_table(tmp_path)
    metadata.unlink()
    with pytest.raises(DataError, match=r"ISIC_2019_Training_Metadata\.csv: this file is missing"):
        read_table(tmp_path)


def test_duplicate_image_ids(tmp_path: Path) -> None:
    rows = ["A.jpg,A,HAM10000,NV,,,,,,,,", "B.jpg,A,HAM10000,NV,,,,,,,,"]
    with pytest.raises(DataError, match=r"more than once \(1\): A;"):
        read_table(index(tmp_path, *rows))


def test_row_without_an_image_id(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"without an image id \(1\): .*A\.jpg"):
        read_table(index(tmp_path, "A.jpg,,HAM10000,NV,,,,,,,,"))


@pytest.mark.parametrize("sides", [("train", "test"), ("val", "train"), ("train", "original:test")])
@pytest.mark.parametrize(
    ("ids", "named"), [("G,L{i},", "group G"), ("G{i},L,", "lesion L"), (",L{i},P", "group P")]
)
def test_group_lesion_or_patient_on_two_sides(
    tmp_path: Path, sides: tuple[str, str], ids: str, named: str
) -> None:
    rows = [f"{i}.jpg,{i},HAM10000,NV,{side},{ids.format(i=i)},,,," for i, side in enumerate(sides)]
    first, second = sorted(side.removeprefix("original:") for side in sides)
    with pytest.raises(DataError, match=rf"{named} \({first}, {second}\)"):
        read_table(index(tmp_path, *rows))


def test_group_in_external_and_train_is_allowed(tmp_path: Path) -> None:
    rows = [f"{i}.jpg,{i},HAM10000,NV,{split},G,L,,,,," for i, split in enumerate(("train", "external"))]
    assert len(read_table(index(tmp_path, *rows))) == 2


@pytest.mark.parametrize("age", ["old", "-1", "121", "inf"])
def test_impossible_age(tmp_path: Path, age: str) -> None:
    with pytest.raises(DataError, match=rf"age '{age}' of image A"):
        read_table(index(tmp_path, f"A.jpg,A,HAM10000,NV,,,,,{age},,,"))


def test_missing_columns(tmp_path: Path) -> None:
    table(tmp_path / "metadata.csv", ["isic_id", "age"], "ISIC_1,50")
    with pytest.raises(DataError, match=r"columns missing \(6\): diagnostic, gender"):
        read_table(tmp_path)


def test_row_with_too_many_cells(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"more cells than columns \(1\): row 2"):
        read_table(index(tmp_path, "A.jpg,A,x,NV,,,,,,,,", "B.jpg,B,x,NV,,,,,,head,neck,,"))


def test_row_with_too_few_cells(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"fewer cells than columns \(1\): row 2"):
        read_table(index(tmp_path, "A.jpg,A,x,NV,,,,,,,,", "B.jpg,B,x,NV"))


@pytest.mark.parametrize("cell", ['"no end', "x" * 200_000])
def test_row_that_is_no_csv(tmp_path: Path, cell: str) -> None:
    """A quote that is not closed does not take the rows after it."""
    rows = [f"A.jpg,A,x,NV,,,,,,,,{cell}", "B.jpg,B,x,NV,,,,,,,,"]
    (tmp_path / "index.csv").write_text("\n".join([",".join(INDEX), *rows]), encoding="utf-8")
    with pytest.raises(DataError, match=r"index\.csv: .*row \d"):
        read_table(tmp_path)


def test_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a csv file in UTF-8"):
        read_table(tmp_path)


def test_byte_order_mark_and_a_nameless_first_column(tmp_path: Path) -> None:
    index(tmp_path, "A.jpg,A,HAM10000,NV,,,,,,,,")
    file = tmp_path / "index.csv"
    file.write_text(file.read_text(), encoding="utf-8-sig")
    assert len(read_table(tmp_path)) == 1
    # As pandas writes its row numbers.
    table(file, ["", *INDEX], "0,A.jpg,A,HAM10000,NV,,,,,,,,")
    assert len(read_table(tmp_path)) == 1

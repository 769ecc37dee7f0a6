"""Reports as DICOM: read back by pydicom and highdicom, and checked by dciodvfy."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, run_cli
from tests.edgeskin.pictures import encode

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
hd = pytest.importorskip("highdicom", reason="the extra dicom is not installed")
from pydicom.sr.codedict import codes  # noqa: E402

from edgeskin.photo.dicom import PHOTOGRAPHS  # noqa: E402
from edgeskin.photo.headers import read_header  # noqa: E402
from tests.edgeskin.dicoms import SECRETS, saved, with_jpeg  # noqa: E402

BOTH = ("result.sr.dcm", "map.sc.dcm")


@pytest.fixture
def lesion_dcm(lesion_jpg: Path, tmp_path: Path) -> Path:
    path = tmp_path / "lesion.dcm"
    path.write_bytes(framed(lesion_jpg.read_bytes()))
    return path


def framed(jpeg: bytes, **changes: Any) -> bytes:
    header = read_header(jpeg)
    return with_jpeg(jpeg, Rows=header.height, Columns=header.width, **changes)


def changed(path: Path, **changes: Any) -> None:
    """Change attributes of a DICOM file."""
    dataset = pydicom.dcmread(path)
    for name, value in changes.items():
        setattr(dataset, name, value)
    path.write_bytes(saved(dataset))


def report(photo: Path, bundle: Path, *options: str | Path) -> "subprocess.CompletedProcess[str]":
    named = [part for name in BOTH for part in ("-o", photo.parent / name)]
    return run_cli("report", photo, *named, "--bundle", bundle, *options)


def written(photo: Path) -> list[Any]:
    return [pydicom.dcmread(photo.parent / name) for name in BOTH]


def evaluations(group: Any) -> dict[str, str]:
    """What the group says in codes of edgeskin."""
    found = group.get_qualitative_evaluations()
    return {one.name.value: one.value.value for one in found if one.name.scheme_designator == "99EDGESKIN"}


def test_the_report_holds_the_result(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    out = lesion_dcm.parent / "result.json"
    done = report(lesion_dcm, shared_micro_bundle, "-o", out)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(lesion_dcm.parent / name) for name in (*BOTH, out.name)]
    result = json.loads(out.read_text())
    document = hd.sr.srread(lesion_dcm.parent / BOTH[0])
    assert isinstance(document, hd.sr.ComprehensiveSR)
    (group,) = document.content.get_image_measurement_groups()
    (probability,) = group.get_measurements()
    assert (probability.name, probability.unit) == (codes.DCM.ProbabilityOfCancer, codes.UCUM.Percent)
    assert float(probability.value) == pytest.approx(100 * result["cancer_probability"], abs=1e-4)
    assert evaluations(group) == {
        "STATUS": "assessed",
        "RISK": result["risk"],
        "ACTION": result["action_code"],
        "USE": "research",
    }
    content = (lesion_dcm.parent / BOTH[0]).read_bytes()
    assert all(result["model"][name].encode() in content for name in ("sha256", "name", "version"))
    (image,) = group.source_images
    assert image.referenced_sop_instance_uid == pydicom.dcmread(lesion_dcm).SOPInstanceUID


def test_both_belong_to_patient_and_study_and_are_not_verified(
    shared_micro_bundle: Path, lesion_dcm: Path
) -> None:
    assert report(lesion_dcm, shared_micro_bundle).returncode == 0
    source = pydicom.dcmread(lesion_dcm)
    structured, capture = written(lesion_dcm)
    for document in (structured, capture):
        for name in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "StudyDate"):
            assert document[name].value == source[name].value
        assert document.SeriesInstanceUID != source.SeriesInstanceUID
    assert structured.SeriesInstanceUID != capture.SeriesInstanceUID
    assert (structured.VerificationFlag, structured.PreliminaryFlag) == ("UNVERIFIED", "PRELIMINARY")
    (study,) = structured.CurrentRequestedProcedureEvidenceSequence
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert capture.LossyImageCompression == "01"
    first = structured.SOPInstanceUID
    assert report(lesion_dcm, shared_micro_bundle).returncode == 0
    assert written(lesion_dcm)[0].SOPInstanceUID != first


def test_the_capture_says_on_each_panel_what_it_is_not_for(
    shared_micro_bundle: Path, lesion_dcm: Path
) -> None:
    assert report(lesion_dcm, shared_micro_bundle).returncode == 0
    _, capture = written(lesion_dcm)
    assert (capture.PhotometricInterpretation, capture.BitsAllocated) == ("RGB", 8)
    for left in (16, 480):
        bar = capture.pixel_array[16:40, left : left + 448]
        assert np.median(bar) == 0
        assert (bar > 200).all(axis=2).sum() > 300


@pytest.mark.skipif(not shutil.which("dciodvfy"), reason="dciodvfy (dicom3tools) is not installed")
@pytest.mark.parametrize("sop_class", PHOTOGRAPHS)
@pytest.mark.parametrize("is_refused", [False, True])
def test_dciodvfy_finds_no_error(
    shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path, sop_class: str, is_refused: bool
) -> None:
    jpeg = encode(np.zeros((300, 300, 3), np.uint8), "JPEG") if is_refused else lesion_jpg.read_bytes()
    photo = tmp_path / "lesion.dcm"
    photo.write_bytes(framed(jpeg, SOPClassUID=sop_class))
    changed(photo, ImageLaterality="L")
    assert report(photo, shared_micro_bundle).returncode == is_refused
    for name in BOTH:
        done = subprocess.run(["dciodvfy", tmp_path / name], capture_output=True, text=True, check=False)
        found = (done.stdout + done.stderr).splitlines()
        assert not [line for line in found if line.startswith("Error")]
        assert done.returncode == 0
        unexpected = [line for line in found if line.startswith("Warning") and "99EDGESKIN" not in line]
        assert not unexpected


def test_a_refused_picture_has_no_probability_and_no_risk(shared_micro_bundle: Path, tmp_path: Path) -> None:
    photo = tmp_path / "dark.dcm"
    photo.write_bytes(framed(encode(np.zeros((300, 300, 3), np.uint8), "JPEG")))
    done = report(photo, shared_micro_bundle)
    assert done.returncode == 1
    document = hd.sr.srread(tmp_path / BOTH[0])
    (group,) = document.content.get_image_measurement_groups()
    assert not group.get_measurements()
    assert evaluations(group) == {"STATUS": "retake", "ACTION": "retake", "USE": "research"}
    assert " RISK" not in str(document)


@pytest.mark.parametrize(
    ("name", "character_set"),
    [("Müller^Jürgen", "ISO_IR 100"), ("Łęcki^Ądam", "ISO_IR 101"), ("山田^太郎", "GB18030")],
)
def test_names_in_other_letters(
    shared_micro_bundle: Path, lesion_dcm: Path, name: str, character_set: str
) -> None:
    changed(lesion_dcm, SpecificCharacterSet=character_set, PatientName=name)
    assert report(lesion_dcm, shared_micro_bundle).returncode == 0
    assert [str(document.PatientName) for document in written(lesion_dcm)] == [name, name]


def test_missing_patient_data_stay_empty(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    dataset = pydicom.dcmread(lesion_dcm)
    for name in ("PatientID", "PatientName", "PatientBirthDate", "StudyDate", "StudyID", "PatientSex"):
        delattr(dataset, name)
    lesion_dcm.write_bytes(saved(dataset))
    done = report(lesion_dcm, shared_micro_bundle)
    assert done.returncode == 0, done.stderr
    assert not any(document.PatientID or document.StudyDate for document in written(lesion_dcm))


def test_a_jpeg_has_no_patient_to_report_on(shared_micro_bundle: Path, lesion_jpg: Path) -> None:
    done = report(lesion_jpg, shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert ".html" in done.stderr
    assert not (lesion_jpg.parent / BOTH[0]).exists()


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"20260102", b"yesterda"), (b"1.2.826.0.1.3680043.8.498.2", b"Marker-Patient-77-no-valid!")],
)
@pytest.mark.hazard("H-17")
def test_invalid_attributes_are_not_quoted(
    shared_micro_bundle: Path, lesion_dcm: Path, before: bytes, after: bytes
) -> None:
    lesion_dcm.write_bytes(lesion_dcm.read_bytes().replace(before, after))
    out = lesion_dcm.parent / "result.html"
    done = report(lesion_dcm, shared_micro_bundle, "-o", out)
    assert not any(text in done.stderr for text in (*SECRETS, "yesterda", "Marker", "Warning"))
    if done.returncode:
        assert "error: " in done.stderr
        assert not (lesion_dcm.parent / BOTH[0]).exists()


def test_several_patients_in_one_file_are_refused(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    lesion_dcm.write_bytes(lesion_dcm.read_bytes().replace(b"Marker^Patient", b"Marker\\Patient"))
    done = report(lesion_dcm, shared_micro_bundle)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Marker" not in done.stderr


def test_a_damaged_picture_is_named(shared_micro_bundle: Path, lesion_jpg: Path, tmp_path: Path) -> None:
    photo = tmp_path / "lesion.dcm"
    photo.write_bytes(framed(lesion_jpg.read_bytes())[:-3000])
    done = report(photo, shared_micro_bundle)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {photo}: ")


def test_a_file_that_does_not_identify_itself_is_refused(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    dataset = pydicom.dcmread(lesion_dcm)
    del dataset.StudyInstanceUID
    lesion_dcm.write_bytes(saved(dataset))
    done = report(lesion_dcm, shared_micro_bundle)
    assert (done.returncode, done.stdout) == (1, "")


@pytest.mark.parametrize("name", ["report.dcm", "report.sr", "report.pdf"])
def test_other_names_are_usage_errors(shared_micro_bundle: Path, lesion_dcm: Path, name: str) -> None:
    out = lesion_dcm.parent / name
    done = run_cli("report", lesion_dcm, "-o", out, "--bundle", shared_micro_bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert ".sr.dcm" in done.stderr


def test_without_the_extra_the_error_names_it(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    code = "import sys; sys.modules['highdicom'] = None\nfrom edgeskin.__main__ import main; main()"
    out = lesion_dcm.parent / BOTH[0]
    command = [sys.executable, "-c", code, "report", lesion_dcm, "-o", out, "--bundle", shared_micro_bundle]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert 'pip install "edgeskin[dicom]"' in done.stderr


def test_an_isolated_report_is_the_same(shared_micro_bundle: Path, lesion_dcm: Path) -> None:
    values = []
    for options in ((), ("--isolate",)):
        assert report(lesion_dcm, shared_micro_bundle, *options).returncode == 0
        values.append(written(lesion_dcm)[1].PixelData)
    assert values[0] == values[1]
    assert io.BytesIO(values[0]).read(1)

"""Bundles: sound ones open, and everything else is refused by the name of the file."""

import hashlib
import json
import os
from pathlib import Path

import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.errors import BundleError
from tests.conftest import change_rules, write_manifest

pytestmark = pytest.mark.hazard("H-07")


def refused(folder: Path, file: str, code: str) -> None:
    """Open and verify a bundle, and expect an error that names this file."""
    with pytest.raises(BundleError, match=rf"{file}: ") as caught:
        open_bundle(folder).verify()
    assert caught.value.code == code


def test_a_sound_bundle_opens_and_its_manifest_identifies_it(micro_bundle: Path) -> None:
    bundle = open_bundle(micro_bundle)
    bundle.verify()
    assert bundle.sha256 == hashlib.sha256((micro_bundle / "manifest.json").read_bytes()).hexdigest()
    assert bundle.read("int8.bin") == (micro_bundle / "int8.bin").read_bytes()
    assert bundle.manifest.decision_rules["int8"].operating_points[0].name == "screen"


def test_a_name_is_a_shipped_bundle_and_a_path_is_a_folder(
    micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    micro_bundle.rename(micro_bundle.with_name("lite"))
    monkeypatch.chdir(micro_bundle.parent)
    assert open_bundle("lite").manifest.name == "edgeskin-lite"
    for folder in ("./lite", Path("lite")):
        assert open_bundle(folder).manifest.name == "micro"


def test_one_changed_byte_is_refused(micro_bundle: Path) -> None:
    path = micro_bundle / "int8.bin"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    open_bundle(micro_bundle)  # hashes are compared when a file is read
    refused(micro_bundle, r"int8\.bin", "bundle_altered")
    with pytest.raises(BundleError, match=r"int8\.bin: "):
        open_bundle(micro_bundle).ir("int8").read()


@pytest.mark.parametrize("size", [0, 10])
def test_a_shortened_file_is_refused_at_once(micro_bundle: Path, size: int) -> None:
    path = micro_bundle / "fp32.bin"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BundleError, match=r"fp32\.bin: "):
        open_bundle(micro_bundle)


def test_a_lengthened_file_is_refused_at_once(micro_bundle: Path) -> None:
    with (micro_bundle / "head.npz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match=r"head\.npz: "):
        open_bundle(micro_bundle)


def test_a_missing_file_is_named(micro_bundle: Path) -> None:
    (micro_bundle / "int8.xml").unlink()
    refused(micro_bundle, r"int8\.xml", "bundle_missing")


@pytest.mark.parametrize("name", ["int8.bin", "manifest.json"])
def test_a_link_is_refused_even_to_the_right_bytes(micro_bundle: Path, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    (micro_bundle / name).rename(elsewhere)
    (micro_bundle / name).symlink_to(elsewhere)
    refused(micro_bundle, name, "bundle_altered")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("name", ["int8.bin", "manifest.json"])
def test_a_fifo_is_refused_and_not_waited_for(micro_bundle: Path, name: str) -> None:
    (micro_bundle / name).unlink()
    os.mkfifo(micro_bundle / name)
    refused(micro_bundle, name, "bundle_altered")


def test_a_folder_without_a_bundle_is_refused_by_name(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere.*", "bundle_missing")


def test_a_file_that_the_manifest_does_not_list_is_refused(micro_bundle: Path) -> None:
    (micro_bundle / "gate.md").write_text("# Gate")
    with pytest.raises(BundleError, match=r"gate\.md"):
        open_bundle(micro_bundle).read("gate.md")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"schema_version": 1}, "1"),
        ({"schema_version": 2}, "2"),
        ({"schema_version": 5}, "5"),
        ({"schema_version": "4"}, "'4'"),
        ({"cancer_classes": ["MEL", "XYZ"]}, "classes"),
        ({"cancer_classes": []}, "classes"),
        ({"files": {"../../etc/passwd": {"sha256": "0", "size": 1}}}, "passwd"),
        ({"decision_rules": {}}, "decision"),
        ({"decision_rules": []}, "decision_rules"),
        ({"preprocessing": {"size": 5}}, "preprocessing.* 5"),
        ({"surprise": 1}, "surprise"),
        ({"name": 5}, "name.* 5"),
        ({"classes": "MELNV", "cancer_classes": "M"}, "classes"),
        ({"ood": None}, "ood"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    micro_bundle: Path, changes: dict[str, object], names: str
) -> None:
    values = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))
    (micro_bundle / "manifest.json").write_text(json.dumps(values | changes), encoding="utf-8")
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{names}"):
        open_bundle(micro_bundle)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff\xfe", b"{}", b'{"schema_version": 3}', b'{"schema_version": []}', b"[" * 10**5],
)
def test_content_that_is_no_manifest_is_refused(micro_bundle: Path, content: bytes) -> None:
    code = "bundle_schema" if content == b'{"schema_version": []}' else "bundle"
    (micro_bundle / "manifest.json").write_bytes(content)
    refused(micro_bundle, r"manifest\.json", code)


POINT = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"operating_points": [POINT | {"threshold": 0.6}, POINT]}, "thresholds"),
        ({"operating_points": [POINT | {"threshold": 1.2}]}, "thresholds"),
        ({"operating_points": [POINT | {"name": "balanced"}]}, "screen"),
        ({"operating_points": []}, "thresholds"),
        ({"calibration": {"method": "", "weights": [[1e300] * 8] * 8, "bias": [0.0] * 8}}, "calibration"),
        ({"calibration": {"method": "", "weights": [[-1.0] * 8] * 8, "bias": [0.0] * 8}}, "diagonal"),
        ({"calibration": {"method": "", "weights": [[float("nan")] * 8] * 8, "bias": [0.0] * 8}}, "nan"),
        ({"cancer_classes": ["MEL", "XYZ"]}, "XYZ"),
        ({"cancer_classes": []}, "cancer classes"),
        ({"ood_threshold": None}, "ood"),
        ({"ood_threshold": float("nan")}, "nan"),
        ({"lesion_scores": {"cancer": [2.0], "benign": [], "bounds": []}}, "lesion"),
        ({"lesion_scores": {"cancer": [0.5, 0.1], "benign": [], "bounds": []}}, "lesion"),
        ({"prediction_sets": {}}, "thresholds"),
        ({"prediction_sets": {"coverage": 0.9, "thresholds": [0.1], "lesions": [5]}}, "prediction sets"),
        ({"confidence": {"weights": [1], "bounds": [], "gaps": [0], "low": 0, "high": 1}}, "confidence"),
        ({"class_priors": [0.5, 0.5]}, "priors"),
        ({"class_priors": [0.0] + [0.1] * 7}, "priors"),
        ({"class_priors": [float("nan")] + [0.1] * 7}, "nan"),
    ],
)
def test_decision_rules_that_do_not_fit_are_refused(
    micro_bundle: Path, changes: dict[str, object], names: str
) -> None:
    change_rules(micro_bundle, **changes)
    with pytest.raises(BundleError, match=rf"manifest\.json: .*{names}"):
        open_bundle(micro_bundle)


def test_a_bundle_without_ood_opens(micro_bundle: Path) -> None:
    (micro_bundle / "ood.npz").unlink()
    write_manifest(micro_bundle, ood=None)
    opened = open_bundle(micro_bundle)
    opened.verify()
    assert opened.manifest.ood is None
    assert opened.manifest.decision_rules["int8"].ood_threshold is None

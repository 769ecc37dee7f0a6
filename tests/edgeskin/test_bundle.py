import hashlib
import json
import os
from pathlib import Path

import pytest

from edgeskin.bundle.bundle import open_bundle
from edgeskin.bundle.manifest import temperature_scaling
from edgeskin.errors import BundleError
from tests.conftest import write_manifest


def test_a_sound_bundle_opens_and_names_itself_by_its_manifest(micro_bundle: Path) -> None:
    bundle = open_bundle(micro_bundle)
    bundle.verify()
    assert bundle.sha256 == hashlib.sha256((micro_bundle / "manifest.json").read_bytes()).hexdigest()
    assert bundle.read("int8.bin") == (micro_bundle / "int8.bin").read_bytes()
    assert bundle.manifest.variants["int8"].operating_points[0].name == "screen"


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
    with pytest.raises(BundleError, match=r"int8\.bin: not the file"):
        open_bundle(micro_bundle).verify()


@pytest.mark.parametrize("size", [0, 10])
def test_a_shortened_file_is_refused(micro_bundle: Path, size: int) -> None:
    path = micro_bundle / "fp32.bin"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(BundleError, match=r"fp32\.bin: not the file"):
        open_bundle(micro_bundle)


def test_a_lengthened_file_is_refused_before_it_is_read(micro_bundle: Path) -> None:
    with (micro_bundle / "head.npz").open("ab") as file:
        file.write(b"more")
    with pytest.raises(BundleError, match=r"head\.npz: not the file"):
        open_bundle(micro_bundle)


def test_a_missing_file_is_named(micro_bundle: Path) -> None:
    (micro_bundle / "int8.xml").unlink()
    with pytest.raises(BundleError, match=r"int8\.xml: cannot be opened"):
        open_bundle(micro_bundle)


def test_a_link_is_refused_even_to_the_right_bytes(micro_bundle: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (micro_bundle / "int8.bin").rename(elsewhere)
    (micro_bundle / "int8.bin").symlink_to(elsewhere)
    with pytest.raises(BundleError, match="a link"):
        open_bundle(micro_bundle).verify()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_is_refused_and_not_waited_for(micro_bundle: Path) -> None:
    (micro_bundle / "int8.bin").unlink()
    os.mkfifo(micro_bundle / "int8.bin")
    with pytest.raises(BundleError, match="not a regular file"):
        open_bundle(micro_bundle).verify()


def test_no_bundle_at_all_tells_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="python -m quantize"):
        open_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 4}, "schema version 4"),
        ({"cancer_classes": ["MEL", "XYZ"]}, "do not fit"),
        ({"cancer_classes": []}, "do not fit"),
        ({"files": {"../../etc/passwd": ["0", 1]}}, "expected"),
        ({"variants": {}}, "variants"),
        ({"preprocessing": {"size": 5}}, "size 5"),
        ({"surprise": 1}, "surprise"),
        ({"variants": []}, "not a usable manifest"),
        ({"name": 5}, "must be text"),
        ({"classes": "MELNV", "cancer_classes": "M"}, "not a list of classes"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(
    micro_bundle: Path, changes: dict[str, object], message: str
) -> None:
    write_manifest(micro_bundle, **changes)
    with pytest.raises(BundleError, match=message):
        open_bundle(micro_bundle)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"{}"])
def test_a_manifest_that_is_no_manifest_is_refused(micro_bundle: Path, content: bytes) -> None:
    (micro_bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match="not a usable manifest"):
        open_bundle(micro_bundle)


@pytest.mark.parametrize(
    ("thresholds", "weight", "first", "message"),
    [
        ([0.6, 0.3], 1.0, "screen", "rise"),
        ([0.3, 1.2], 1.0, "screen", "outside 0 to 1"),
        ([0.3, 0.6], 1e300, "screen", "calibration"),
        ([0.3, 0.6], float("nan"), "screen", "calibration"),
        ([0.3, 0.6], -1.0, "screen", "diagonal"),
        ([0.3, 0.6], 1.0, "balanced", "must be 'screen'"),
        ([], 1.0, "screen", "rise"),
    ],
)
def test_a_calibration_out_of_range_is_refused(
    micro_bundle: Path, thresholds: list[float], weight: float, first: str, message: str
) -> None:
    point = {"name": first, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    points = [point | {"threshold": threshold} for threshold in thresholds]
    calibration = {"method": "by hand", "weights": [[weight] * 8] * 8, "bias": [0.0] * 8}
    variant = {"calibration": calibration, "operating_points": points}
    write_manifest(micro_bundle, variants={"fp32": variant, "int8": variant})
    with pytest.raises(BundleError, match=message):
        open_bundle(micro_bundle)


@pytest.mark.parametrize("temperature", [0, -1.2, 1e-300, float("nan"), 1000])
def test_a_temperature_of_an_earlier_bundle_is_held_to_its_range(
    micro_bundle: Path, temperature: float
) -> None:
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    variant = {"temperature": temperature, "operating_points": [point]}
    write_manifest(micro_bundle, schema_version=1, ood=None, variants={"fp32": variant, "int8": variant})
    with pytest.raises(BundleError, match="temperature"):
        open_bundle(micro_bundle)


def test_a_bundle_with_a_temperature_still_opens(micro_bundle: Path) -> None:
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    variant = {"temperature": 2.0, "operating_points": [point]}
    write_manifest(micro_bundle, schema_version=1, ood=None, variants={"fp32": variant, "int8": variant})
    assert open_bundle(micro_bundle).manifest.variants["int8"].calibration == temperature_scaling(2.0, 8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ood_threshold": None}, "out of scope"),
        ({"ood_threshold": float("nan")}, "not finite"),
        ({"lesion_scores": {"cancer": [2.0], "others": []}}, "lesion scores"),
        ({"lesion_scores": {"cancer": [0.5, 0.1], "others": []}}, "lesion scores"),
        ({"label_sets": {}}, "lesions"),
        ({"label_sets": {"coverage": 0.9, "thresholds": [0.1], "lesions": [5]}}, "label sets"),
        ({"certainty": {"weights": [1], "bounds": [], "gaps": [0], "low": 0, "high": 1}}, "certainty"),
    ],
)
def test_parts_of_a_variant_that_do_not_fit_are_refused(
    micro_bundle: Path, changes: dict[str, object], message: str
) -> None:
    values = json.loads((micro_bundle / "manifest.json").read_text(encoding="utf-8"))["variants"]
    write_manifest(micro_bundle, variants={name: variant | changes for name, variant in values.items()})
    with pytest.raises(BundleError, match=message):
        open_bundle(micro_bundle)


@pytest.mark.parametrize("priors", [[0.5, 0.5], [0.0] + [0.1] * 7, [float("nan")] + [0.1] * 7])
def test_class_priors_that_do_not_fit_are_refused(micro_bundle: Path, priors: list[float]) -> None:
    point = {"name": "screen", "threshold": 0.3, "target_recall": 0.9, "recall": 0.9, "specificity": 0.5}
    variant = {"temperature": 1.0, "operating_points": [point], "class_priors": priors}
    write_manifest(micro_bundle, schema_version=1, ood=None, variants={"fp32": variant, "int8": variant})
    with pytest.raises(BundleError, match="class priors"):
        open_bundle(micro_bundle)

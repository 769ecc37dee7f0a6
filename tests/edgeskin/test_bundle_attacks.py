"""Bundles made to harm: each is refused with its code, and none ends the process.

Whoever makes a bundle also makes its manifest, so most of these have hashes that fit.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest

from edgeskin.arrays import read_arrays
from edgeskin.bundle.bundle import open_bundle
from edgeskin.classifier import Classifier
from edgeskin.errors import BundleError
from tests.conftest import (
    MICRO_SIZE,
    ROOT,
    change_rules,
    micro_head,
    micro_network,
    micro_statistics,
    write_manifest,
    write_micro_bundle,
)

pytestmark = pytest.mark.hazard("H-07")

USE = (
    "import sys, numpy as np, edgeskin\n"
    "try:\n"
    "    one = edgeskin.Classifier(sys.argv[1], quality_gate=False, scope_gate=False)\n"
    "    print(one.assess(np.zeros((80, 80, 3), np.uint8), mc_samples=5).status)\n"
    "except edgeskin.EdgeskinError as error:\n"
    "    print(type(error).__name__, error.code)\n"
)


def outcome(folder: Path) -> str:
    """What a process of its own makes of a bundle: a status, or an error's class and code."""
    command = [sys.executable, "-c", USE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def replace(folder: Path, name: str, content: bytes) -> None:
    """Replace a file, and make the manifest fit."""
    (folder / name).write_bytes(content)
    write_manifest(folder)


def code_of(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        open_bundle(folder).verify()
    return caught.value.code


def test_a_sound_bundle_is_used(micro_bundle: Path) -> None:
    assert outcome(micro_bundle) == "assessed"


@pytest.mark.parametrize("kind", ["xml", "bin"])
def test_files_of_the_two_precisions_cannot_change_places(micro_bundle: Path, kind: str) -> None:
    shutil.copy(micro_bundle / f"fp32.{kind}", micro_bundle / f"int8.{kind}")
    assert code_of(micro_bundle) == "bundle_altered"
    assert outcome(micro_bundle) == "BundleError bundle_altered"


@pytest.mark.parametrize(
    "name", ["../int8.bin", "/etc/passwd", "a/../int8.bin", "..\\int8.bin", "C:\\x", "int8.bin\0", ""]
)
def test_a_name_that_leaves_the_folder_is_refused(micro_bundle: Path, name: str) -> None:
    path = micro_bundle / "manifest.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    values["files"][name] = values["files"].pop("int8.bin")
    path.write_text(json.dumps(values), encoding="utf-8")
    assert code_of(micro_bundle) == "bundle"


def text_of(folder: Path) -> str:
    return (folder / "manifest.json").read_text(encoding="utf-8")


MANIFESTS: dict[str, Callable[[str], str]] = {
    "huge": lambda text: text + " " * 5 * 2**20,
    "deep": lambda text: text.replace('"gate": {}', '"gate": ' + '{"a":' * 10**5 + "1" + "}" * 10**5),
    "long integer": lambda text: text.replace('"size": 64', '"size": ' + "9" * 10**5),
    "huge integer": lambda text: text.replace('"size": 64', '"size": ' + "9" * 4000),
    "huge count": lambda text: text.replace('"lesions": [20,', '"lesions": [' + "9" * 400 + ","),
    "negative file": lambda text: text.replace('"ood.npz": {"sha256"', '"ood.npz": {"size": -1, "sha256"'),
    "giant string": lambda text: text.replace('"name": "micro"', '"name": "' + "m" * 3 * 2**20 + '"'),
    "control characters": lambda text: text.replace('"name": "micro"', r'"name": "\u001b[2J"'),
    "half a character": lambda text: text.replace('"name": "micro"', r'"name": "\ud800"'),
    "line breaks": lambda text: text.replace('"MEL"', r'"MEL\nNV"'),
    "huge temperature": lambda text: text.replace('"bias": [0.0', '"bias": [1e308'),
    "huge threshold": lambda text: text.replace('"threshold": 0.3', '"threshold": 1e308'),
    "infinite threshold": lambda text: text.replace('"threshold": 0.3', '"threshold": 1e999'),
    "nan": lambda text: text.replace('"validation": {}', '"validation": {"recall": NaN}'),
    "repeated": lambda text: text.replace('"name": "micro"', '"name": "x", "name": "micro"'),
    "repeated rules": lambda text: text.replace('"int8": {"classes"', '"int8": {}, "int8": {"classes"'),
    "repeated file": lambda text: text.replace('"int8.bin": {', '"int8.bin": {}, "int8.bin": {'),
    "many keys": lambda text: text.replace('"gate": {}', '"gate": {' + '"a":1,' * 3 * 10**5 + '"b":1}'),
}


@pytest.mark.parametrize("attack", MANIFESTS)
def test_a_manifest_made_to_harm_is_refused(micro_bundle: Path, attack: str) -> None:
    text = text_of(micro_bundle)
    changed = MANIFESTS[attack](text)
    assert changed != text
    (micro_bundle / "manifest.json").write_text(changed, encoding="utf-8")
    assert code_of(micro_bundle) == "bundle"


@pytest.mark.parametrize("version", [2, 5, 10**30, "4", None, [], {}, True])
def test_an_unknown_schema_is_named(micro_bundle: Path, version: object) -> None:
    write_manifest(micro_bundle, schema_version=version)
    assert code_of(micro_bundle) == "bundle_schema"


def test_a_file_too_large_for_a_network_is_not_read(micro_bundle: Path) -> None:
    """It has no blocks on the disk, and would take all memory."""
    path = micro_bundle / "manifest.json"
    with (micro_bundle / "int8.bin").open("r+b") as file:
        file.truncate(2**40)
    values = json.loads(path.read_text(encoding="utf-8"))
    values["files"]["int8.bin"]["size"] = 2**40
    path.write_text(json.dumps(values), encoding="utf-8")
    assert code_of(micro_bundle) == "bundle"


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def compressed(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def with_header(name: str, header: bytes) -> bytes:
    """An archive with an array whose header is this, without any data."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


class Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path(self.path),)


@pytest.mark.parametrize("name", ["head.npz", "ood.npz"])
def test_a_pickle_is_not_opened(micro_bundle: Path, name: str, tmp_path: Path) -> None:
    arrays = micro_head() if name == "head.npz" else micro_statistics()
    first = next(iter(arrays))
    touched = tmp_path / "touched"
    replace(micro_bundle, name, npz(**arrays | {first: np.array([Touch(str(touched))], object)}))
    assert outcome(micro_bundle) == "BundleError bundle"
    assert not touched.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["head.npz", "ood.npz"])
def test_numbers_that_are_not_finite_are_refused(micro_bundle: Path, name: str, value: float) -> None:
    arrays = micro_head() if name == "head.npz" else micro_statistics()
    array = "linear2_bias" if name == "head.npz" else "feature_mean"
    arrays[array][0] = value
    replace(micro_bundle, name, npz(**arrays))
    assert outcome(micro_bundle) == "BundleError bundle"


@pytest.mark.parametrize("name", ["head.npz", "ood.npz"])
def test_compressed_arrays_are_refused(micro_bundle: Path, name: str) -> None:
    arrays = micro_head() if name == "head.npz" else micro_statistics()
    replace(micro_bundle, name, compressed(**arrays))
    assert outcome(micro_bundle) == "BundleError bundle"


ARCHIVES = {
    "bomb": compressed(bias=np.zeros(2**26, np.float32)),
    "promises 4 TB": with_header(
        "bias", b"{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776,), }\n"
    ),
    "promises more than 64 bits": with_header(
        "bias", b"{'descr': '<f4', 'fortran_order': False, 'shape': (%d,), }\n" % 2**70
    ),
    "negative": with_header("bias", b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n"),
    "code": with_header("bias", b"__import__('os').abort()\n"),
    "deep": with_header("bias", b"(" * 5000 + b"\n"),
    "object": with_header("bias", b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"),
    "nothing": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("attack", ARCHIVES)
def test_an_archive_made_to_harm_is_refused(attack: str) -> None:
    with pytest.raises(BundleError, match=r"^head\.npz: "):
        read_arrays(ARCHIVES[attack], "head.npz", {"bias": "b"})


def chain(*, depth: int) -> bytes:
    """An IR in which elements lie in one another."""
    return b"<net version='11'>" + b"<a>" * depth + b"</a>" * depth + b"</net>"


IRS: dict[str, Callable[[str], str | bytes]] = {
    "document type": lambda xml: xml.replace("<net", '<!DOCTYPE net SYSTEM "file:///etc/passwd"><net', 1),
    "entity": lambda xml: xml.replace("<net", '<!DOCTYPE net [<!ENTITY a "b">]><net', 1),
    "extension": lambda xml: xml.replace('type="ReLU" version="opset1"', 'type="ReLU" version="extension"'),
    "unknown layer": lambda xml: xml.replace('type="ReLU"', 'type="Shell"'),
    "beyond the weights": lambda xml: xml.replace('offset="36"', 'offset="99999999"'),
    "around the weights": lambda xml: xml.replace('offset="36"', f'offset="{2**64 - 12288}"'),
    "before the weights": lambda xml: xml.replace('offset="36"', 'offset="-36"'),
    "more than it takes": lambda xml: xml.replace('size="12288"', 'size="4"'),
    "a shape of no size": lambda xml: xml.replace('shape="16, 3, 8, 8"', f'shape="{2**62}, 4, 8, 8"'),
    "strings": lambda xml: xml.replace(
        'element_type="f32" shape="16, 3, 8, 8"', 'element_type="string" shape="16, 3, 8, 8"'
    ),
    "huge picture": lambda xml: xml.replace('shape="?,64,64,3"', 'shape="?,100000,100000,3"'),
    "huge padding": lambda xml: xml.replace('pads_begin="0, 0"', 'pads_begin="90000, 90000"'),
    "another picture": lambda xml: xml.replace('shape="?,64,64,3"', 'shape="?,72,64,3"'),
    "floats": lambda xml: xml.replace(
        'shape="?,64,64,3" element_type="u8"', 'shape="?,3" element_type="f32"'
    ),
    "no outputs": lambda xml: xml.replace('names="fmap"', ""),
    "ring": lambda xml: xml.replace(
        'from-layer="5" from-port="2" to-layer="7"', 'from-layer="8" from-port="1" to-layer="7"'
    ),
    "missing layer": lambda xml: xml.replace('from-layer="7"', 'from-layer="777"'),
    "empty": lambda xml: "",
    "no layers": lambda xml: '<net name="n" version="11"/>',
    "deep": lambda xml: chain(depth=10**6),
    "ONNX": lambda xml: b"\x08\x08\x12\x07pytorch:\x00",
    "UTF-16": lambda xml: xml.encode("utf-16"),
}


@pytest.mark.parametrize("attack", IRS)
def test_a_network_made_to_harm_is_refused(micro_bundle: Path, attack: str) -> None:
    xml = (micro_bundle / "int8.xml").read_text(encoding="utf-8")
    changed = IRS[attack](xml)
    assert changed != xml
    replace(micro_bundle, "int8.xml", changed if isinstance(changed, bytes) else changed.encode())
    assert outcome(micro_bundle) == "BundleError bundle"


@pytest.mark.parametrize("size", [0, 1, 12_000])
def test_weights_that_are_cut_off_are_refused(micro_bundle: Path, size: int) -> None:
    replace(micro_bundle, "int8.bin", (micro_bundle / "int8.bin").read_bytes()[:size])
    assert outcome(micro_bundle) == "BundleError bundle"


def test_weights_that_are_not_finite_give_no_assessment(micro_bundle: Path) -> None:
    content = (micro_bundle / "int8.bin").read_bytes()
    replace(micro_bundle, "int8.bin", content[:36] + b"\xff" * (len(content) - 36))
    assert outcome(micro_bundle) in ("BundleError bundle", "EdgeskinError not_finite")


def other_network(folder: Path) -> tuple[bytes, bytes]:
    openvino.save_model(micro_network(5), folder / "other.xml", compress_to_fp16=False)
    return (folder / "other.xml").read_bytes(), (folder / "other.bin").read_bytes()


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (MICRO_SIZE, MICRO_SIZE, 3), dtype=np.uint8)


def test_what_was_hashed_runs_though_the_file_changes_right_after(
    micro_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each file is overwritten as soon as its bytes are hashed: they are not read a second time."""
    with Classifier(micro_bundle) as before:
        expected = before.engine.infer(image()).logits
    others = dict(zip(("int8.xml", "int8.bin"), other_network(tmp_path), strict=True))
    bundle = open_bundle(micro_bundle)
    hashed = {bundle.manifest.files[name].sha256: name for name in others}
    genuine = hashlib.sha256

    def then_swap(content: bytes = b"", **options: Any) -> Any:
        digest = genuine(content, **options)
        if name := hashed.get(digest.hexdigest()):
            (micro_bundle / name).write_bytes(others[name])
        return digest

    monkeypatch.setattr(hashlib, "sha256", then_swap)
    with Classifier(bundle) as classifier:
        found = classifier.engine.infer(image()).logits
    monkeypatch.undo()
    assert {name: (micro_bundle / name).read_bytes() for name in others} == others
    np.testing.assert_array_equal(found, expected)
    assert code_of(micro_bundle) == "bundle_altered"


def test_a_classifier_keeps_the_manifest_that_it_opened(micro_bundle: Path, lesion_jpg: Path) -> None:
    """A bundle replaced beneath it changes no answer, and its files are not mixed in."""
    with Classifier(micro_bundle, quality_gate=False, scope_gate=False) as classifier:
        before = classifier.assess(lesion_jpg)
        head = micro_head()
        head["linear2_bias"] += 1
        replace(micro_bundle, "head.npz", npz(**head))
        change_rules(
            micro_bundle,
            operating_points=[
                {"name": "screen", "threshold": 1, "target_recall": 1, "recall": 0, "specificity": 1}
            ],
        )
        assert classifier.assess(lesion_jpg) == before
        with pytest.raises(BundleError) as caught:
            classifier.assess(lesion_jpg, mc_samples=5)
        assert caught.value.code == "bundle_altered"
    with Classifier(micro_bundle, quality_gate=False, scope_gate=False) as other:
        assert other.rules.screening_threshold == 1


def test_a_folder_swapped_after_it_was_opened_is_refused(micro_bundle: Path, tmp_path: Path) -> None:
    """A link to the folder is followed, and all files must still be those of one manifest."""
    other = shutil.copytree(micro_bundle, tmp_path / "other")
    for name, content in zip(("int8.xml", "int8.bin"), other_network(tmp_path), strict=True):
        replace(other, name, content)
    link = tmp_path / "current"
    link.symlink_to(micro_bundle)
    opened = open_bundle(link)
    opened.ir("int8").read()
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(BundleError) as caught:
        Classifier(opened)
    assert caught.value.code == "bundle_altered"


def test_a_link_to_a_folder_in_place_of_a_file_is_refused(micro_bundle: Path, tmp_path: Path) -> None:
    (micro_bundle / "int8.bin").unlink()
    (micro_bundle / "int8.bin").symlink_to(tmp_path)
    assert code_of(micro_bundle) == "bundle_altered"


def test_a_folder_in_place_of_a_file_is_refused(micro_bundle: Path) -> None:
    (micro_bundle / "int8.bin").unlink()
    (micro_bundle / "int8.bin").mkdir()
    assert code_of(micro_bundle) == "bundle_altered"


def test_a_link_that_points_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to("bundle")
    with pytest.raises(BundleError):
        open_bundle(tmp_path / "bundle")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_fifo_is_not_waited_for(micro_bundle: Path) -> None:
    (micro_bundle / "int8.xml").unlink()
    os.mkfifo(micro_bundle / "int8.xml")
    assert outcome(micro_bundle) == "BundleError bundle_altered"


def test_a_whole_bundle_in_another_ones_place_is_another_bundle(tmp_path: Path) -> None:
    """Hashes show damage; only a signature shows who made it (test_signature)."""
    assert outcome(write_micro_bundle(tmp_path / "any")) == "assessed"

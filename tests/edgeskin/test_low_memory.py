"""Too little memory, in a process whose address space is bounded, is an error that names it."""

import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeskin.errors import ResourceError, naming_lacks
from tests.conftest import ROOT
from tests.edgeskin.pictures import IEND, PNG, ihdr, png

pytestmark = pytest.mark.hazard("H-18")

BOUNDED = """
import json, re, resource, sys
from pathlib import Path
import edgeskin
bundle, spare, *photos = sys.argv[1:]
with edgeskin.Classifier(bundle, threads=1, quality_gate=False, scope_gate=False) as classifier:
    list(classifier.assess_many(photos[-1:]))
    used = int(re.search(r"VmSize:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + int(spare) * 2**20,) * 2)
    for one in classifier.assess_many(photos):
        error = one.error and [one.error.type, one.error.code, one.error.message]
        print(json.dumps([one.status, error]), flush=True)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the size of the process from /proc")
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_too_little_memory_for_one_photo_stops_no_other(
    kind: str, tmp_path: Path, shared_micro_bundle: Path
) -> None:
    large, small = tmp_path / "large.picture", tmp_path / "small.png"
    if kind == "png":
        rows = zlib.compress(bytes(24_001 * 4000), 1)
        large.write_bytes(png(ihdr(6000, 4000, 8, 6), (b"IDAT", rows), IEND))
    else:
        picture = np.full((4000, 6000, 3), 128, np.uint8)
        large.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes())
    small.write_bytes(PNG)
    command = [sys.executable, "-c", BOUNDED, str(shared_micro_bundle), "60", str(large), str(small)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    refused, assessed = done.stdout.splitlines()
    assert '"error", ["ResourceError", "out_of_memory"' in refused
    assert str(large) in refused
    assert " MB" in refused
    assert assessed == '["assessed", null]'


def test_other_errors_of_opencv_pass() -> None:
    with pytest.raises(cv2.error), naming_lacks("lesion.png"):
        cv2.resize(np.zeros((0, 0), np.uint8), (1, 1))


def test_an_array_too_large_is_named() -> None:
    with pytest.raises(ResourceError, match=r"^lesion\.png: ") as caught, naming_lacks("lesion.png"):
        np.empty(2**62, np.uint8)
    assert caught.value.code == "out_of_memory"


def test_classifier_names_the_photo_wherever_memory_is_short(
    shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeskin import Classifier
    from edgeskin.classifier import classifier

    def starve(*_: object) -> None:
        np.empty(2**62, np.uint8)

    monkeypatch.setattr(classifier, "preprocess", starve)
    with Classifier(shared_micro_bundle, threads=1, quality_gate=False) as opened:
        with pytest.raises(ResourceError, match="<bytes>"):
            opened.assess(PNG)
        (result,) = opened.assess_many([PNG])
    assert result.error is not None
    assert (result.error.type, result.error.code) == ("ResourceError", "out_of_memory")

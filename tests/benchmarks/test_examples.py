"""The scripts in examples run."""

import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT


@pytest.fixture
def gallery(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    return importlib.import_module("draw_gallery")


def test_the_gallery_is_rendered(
    gallery: Any, shared_micro_bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pages: dict[Path, str] = {}
    monkeypatch.setattr(gallery, "photograph", lambda page, out: pages.update({out: page.read_text("utf-8")}))
    gallery.main(["--bundle", str(shared_micro_bundle), "--out", str(tmp_path), "--report", "report.png"])
    pictures = {path.stem: cv2.imread(str(path)) for path in tmp_path.glob("*.jpg")}
    assert set(pictures) == {"classes", "methods", "targets", "explain", "compare"}
    assert pictures["classes"].shape == (300, 8 * 150, 3)
    for name, columns in (("methods", 5), ("targets", 4)):
        assert pictures[name].shape == (300, columns * 300, 3)
        maps = np.split(pictures[name].astype(int), columns, axis=1)
        assert any(np.abs(one - maps[0]).max() > 20 for one in maps[1:]), name
    (page,) = pages.values()
    assert gallery.PHOTO.name in page
    assert page.rstrip().endswith("</html>")

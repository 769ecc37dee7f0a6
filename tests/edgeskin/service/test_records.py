"""Records that an operator asks for, and only then."""

import json
import os
import stat
from pathlib import Path

import pytest

from edgeskin.classifier import Classifier
from edgeskin.errors import SettingError
from edgeskin.service.records import Records
from tests.edgeskin.service.conftest import plain, running


def test_a_photo_and_its_answer_are_kept(micro_classifier: Classifier, lesion: bytes, tmp_path: Path) -> None:
    """Byte for byte as it came, with its metadata; once, whatever else the page asks about it."""
    photo = lesion[:2] + b"\xff\xfe\x00\x09comment" + lesion[2:]
    files = {"photo": ("Doe.jpg", photo)}
    with running(micro_classifier, records=tmp_path) as service:
        answer = service.client.post("/v1/assess", files=files, headers={"X-Request-ID": "id-1"})
        for path in ("assess/batch", "explain", "explain?target=MEL", "report", "message", "quality"):
            assert service.client.post(f"/v1/{path}", files=files).status_code == 200
        compared = {"before": ("Doe.jpg", photo), "after": ("Doe.jpg", photo)}
        assert service.client.post("/v1/compare", files=compared).status_code == 200
        assert service.client.get("/v1/model").json()["records"] is True
    stored, record_file = sorted(tmp_path.iterdir())
    assert (stored.suffix, record_file.suffix) == (".jpg", ".json")
    assert stored.stem == record_file.stem
    assert stored.stem.endswith("-id-1")
    record = json.loads(record_file.read_text(encoding="utf-8"))
    assert record["image"] == "Doe.jpg"
    assert plain(record) == plain(answer.json())
    assert stored.read_bytes() == photo


@pytest.mark.skipif(os.name != "posix", reason="of POSIX permissions")
def test_records_are_private(micro_classifier: Classifier, lesion: bytes, tmp_path: Path) -> None:
    with running(micro_classifier, records=tmp_path) as service:
        service.client.post("/v1/assess", content=lesion)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def test_what_is_no_picture_is_kept_too(micro_classifier: Classifier, tmp_path: Path) -> None:
    with running(micro_classifier, records=tmp_path) as service:
        service.client.post("/v1/assess", content=b"broken")
    photo, record = sorted(tmp_path.iterdir())
    assert (photo.suffix, photo.read_bytes()) == (".bin", b"broken")
    assert json.loads(record.read_text(encoding="utf-8"))["error"]["code"] == "unsupported_format"


def test_a_record_that_cannot_be_written_costs_no_answer(
    micro_classifier: Classifier, lesion: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "records"
    folder.mkdir()
    with running(micro_classifier, records=folder) as service:
        folder.rmdir()
        answer = service.client.post("/v1/assess", content=lesion)
        assert (answer.status_code, answer.json()["status"]) == (200, "assessed")
        assert "edgeskin_records_failed_total 1.0" in service.client.get("/metrics").text
    (failed,) = [record for record in caplog.records if record.getMessage() == "record_failed"]
    assert failed.fields == {  # type: ignore[attr-defined]
        "request_id": answer.headers["X-Request-ID"], "code": "not_written",
    }  # fmt: skip


def test_the_folder_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(SettingError, match=folder.name):
            Records(folder)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_the_folder_must_be_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SettingError):
        Records(tmp_path)

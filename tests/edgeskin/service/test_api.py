"""The routes: their answers are those of the library."""

import json
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from edgeskin.bundle.manifest import Manifest
from edgeskin.classifier import Classifier
from edgeskin.decision.limitations import PatientContext
from edgeskin.errors import ResourceError
from edgeskin.imaging.change import compare_photos
from edgeskin.report import figures
from edgeskin.results import to_plain
from tests.edgeskin.service.conftest import Service, plain, running


def png(image: Any) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="session")
def dark() -> bytes:
    """A photo that the quality gate refuses."""
    return png(np.full((300, 300, 3), 10, np.uint8))


@pytest.fixture(scope="session")
def other(lesion: bytes) -> bytes:
    """The lesion again, turned by a few degrees."""
    image = cv2.imdecode(np.frombuffer(lesion, np.uint8), cv2.IMREAD_COLOR)
    size = image.shape[1::-1]
    turn = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), 4, 1)
    return png(cv2.warpAffine(image, turn, size, borderMode=cv2.BORDER_REFLECT))


@pytest.fixture(scope="session")
def strict(shared_micro_bundle: Path) -> Iterator[Service]:
    """A service without its scope gate and with other settings."""
    with (
        Classifier(shared_micro_bundle, "fp32", threads=1, scope_gate=False) as classifier,
        running(classifier, max_megapixels=0.2, queue_size=3, rate_limit=500) as service,
    ):
        yield service


def test_an_answer_is_that_of_the_library(
    service: Service, micro_classifier: Classifier, lesion: bytes, dark: bytes
) -> None:
    for photo in (lesion, dark):
        answer = service.client.post("/v1/assess", files={"photo": ("a.jpg", photo)})
        assert answer.status_code == 200
        assert plain(answer.json()) == plain(micro_classifier.assess(photo, name="a.jpg").to_dict())
    assert answer.json()["status"] == "retake"


def test_options_mean_what_they_mean_in_the_library(
    service: Service, micro_classifier: Classifier, lesion: bytes
) -> None:
    """Each of them changes the answer."""
    chosen = {
        "method": "layer-cam", "target": "MEL", "mc_dropout": "7", "seed": "3", "age": "35", "site": "nail",
    }  # fmt: skip
    answer = service.client.post("/v1/assess", params=chosen, content=lesion)
    expected = micro_classifier.assess(
        lesion, name="photo", explain="layer-cam", target="MEL", mc_samples=7, seed=3,
        context=PatientContext(35, "nail"),
    )  # fmt: skip
    assert plain(answer.json()) == plain(expected.to_dict())
    for name, changed in (("method", "eigen-cam"), ("target", "NV"), ("mc_dropout", "8"), ("seed", "4"),
                          ("age", "70"), ("site", "oral/genital")):  # fmt: skip
        different = service.client.post("/v1/assess", params={**chosen, name: changed}, content=lesion)
        assert different.status_code == 200
        assert plain(different.json()) != plain(answer.json()), name


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("method=none", "setting"),
        ("target=MEL", "bad_request"),  # of a map that nobody asked for
        ("method=grad-cam&target=none", "setting"),
        ("mc_dropout=1", "setting"),
        ("mc_dropout=1001", "setting"),
        ("mc_dropout=x", "bad_request"),
        ("seed=-1&mc_dropout=2", "setting"),
        ("seed=1.5", "bad_request"),
        ("seed=1", "bad_request"),  # of a sampling that nobody asked for
        ("seed=1&mc_dropout=0", "bad_request"),
        ("age=121", "setting"),
        ("age=nan", "setting"),
        ("age=old", "bad_request"),
        ("site=knee", "setting"),
        ("precision=fp32", "bad_request"),
    ],
)
def test_an_option_out_of_range_is_refused(query: str, code: str, service: Service, lesion: bytes) -> None:
    for path in ("/v1/assess", "/v1/assess/batch"):
        answer = service.client.post(f"{path}?{query}", files={"photo": ("a.jpg", lesion)})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"GIF89a" + bytes(100), 415, "unsupported_format"),
        (b"no picture", 415, "unsupported_format"),
        (b"", 422, "empty_file"),
        (b"\xff\xd8\xff\xe0" + bytes(10), 422, "damaged"),
        (png(np.zeros((90, 90, 3), np.uint8))[:-20], 422, "cut_off"),
        (png(np.zeros((20, 20, 3), np.uint8)), 422, "too_small"),
        (png(np.zeros((1, 20_000, 3), np.uint8)), 422, "too_small"),
        (png(np.zeros((40, 20_000, 3), np.uint8)), 413, "side_too_long"),
    ],
)
def test_a_photo_that_cannot_be_read_is_an_assessment(
    content: bytes, status: int, code: str, service: Service
) -> None:
    for path in ("/v1/assess", "/v1/explain", "/v1/report"):
        answer = service.client.post(path, files={"photo": ("Doe.png", content)}, headers={"Accept": "*/*"})
        body = answer.json()
        assert answer.status_code == status
        assert (body["status"], body["error"]["code"], body["risk"]) == ("error", code, None)
        assert body["error"]["message"].startswith("Doe.png: ")
        assert "<bytes>" not in answer.text
    quality = service.client.post("/v1/quality", files={"photo": ("Doe.png", content)})
    assert (quality.status_code, quality.json()["error"]["code"]) == (status, code)
    assert quality.json()["error"]["message"].startswith("Doe.png: ")


def test_megapixels_are_limited_by_the_header(strict: Service) -> None:
    """A header that claims 0.3 megapixels is enough: the file holds none."""
    small, large = png(np.zeros((400, 500, 3), np.uint8)), png(np.zeros((500, 600, 3), np.uint8))
    assert strict.client.post("/v1/assess", content=small).status_code == 200
    for content in (large, large[:33] + b"\0\0\0\0IDAT\x35\xaf\x06\x1e" + large[-12:]):
        for path in ("/v1/assess", "/v1/quality"):
            answer = strict.client.post(path, content=content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_pixels")


def test_a_lack_of_memory_is_no_fault_of_the_photo(
    service: Service, micro_classifier: Classifier, lesion: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ResourceError("there is too little memory", "out_of_memory")

    monkeypatch.setattr(micro_classifier, "assess", fail)
    answer = service.client.post("/v1/assess", content=lesion)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "out_of_memory")
    assert answer.json()["status"] == "error"


def test_a_batch_answers_in_order_and_keeps_failures_as_rows(
    service: Service, micro_classifier: Classifier, lesion: bytes, dark: bytes
) -> None:
    photos = [("a.jpg", lesion), ("b.jpg", b"broken"), ("c.jpg", dark), ("a.jpg", lesion)]
    answer = service.client.post("/v1/assess/batch?age=35", files=[("photo", photo) for photo in photos])
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["image"] for result in results] == [name for name, _ in photos]
    assert [result["status"] for result in results] == ["assessed", "error", "retake", "assessed"]
    expected = micro_classifier.assess(lesion, name="a.jpg", context=PatientContext(35))
    assert plain(results[0]) == plain(results[3]) == plain(expected.to_dict())
    assert results[1]["error"]["code"] == "unsupported_format"


def test_a_defect_costs_a_batch_one_row(
    service: Service, micro_classifier: Classifier, lesion: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    assess = micro_classifier.assess

    def fail_once(image: bytes, *, name: str, **rest: Any) -> Any:
        if name == "b.jpg":
            raise ZeroDivisionError(f"within {name}")
        return assess(image, name=name, **rest)

    monkeypatch.setattr(micro_classifier, "assess", fail_once)
    photos = [("photo", (name, lesion)) for name in ("a.jpg", "b.jpg", "c.jpg")]
    results = service.client.post("/v1/assess/batch", files=photos).json()["results"]
    assert [result["status"] for result in results] == ["assessed", "error", "assessed"]
    assert results[1]["error"]["code"] == "internal"


def test_a_batch_is_no_larger_than_the_queue(strict: Service, dark: bytes) -> None:
    photos = [("photo", ("a.png", dark))] * 4
    assert strict.client.post("/v1/assess/batch", files=photos[:3]).status_code == 200
    answer = strict.client.post("/v1/assess/batch", files=photos)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")


def test_a_batch_for_which_there_is_no_room_is_refused_whole(strict: Service, dark: bytes) -> None:
    photos = [("photo", ("a.png", dark))] * 3
    with strict.occupied(2):
        answer = strict.client.post("/v1/assess/batch", files=photos)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "queue_full")
        assert int(answer.headers["Retry-After"]) >= 1


def test_a_map_as_a_picture_lies_over_the_photo(
    service: Service, micro_classifier: Classifier, lesion: bytes
) -> None:
    answer = service.client.post("/v1/explain?target=NV", content=lesion, headers={"Accept": "image/png"})
    assert answer.headers["Content-Type"] == "image/png"
    layer = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)[..., [2, 1, 0, 3]]
    result = micro_classifier.assess(lesion, explain="grad-cam", target="NV")
    assert result.explanation is not None
    assert result.pixels is not None
    assert np.array_equal(layer, figures.evidence_layer(result.explanation, len(result.pixels.square)))
    as_json = service.client.post("/v1/explain?target=NV", content=lesion)
    assert plain(as_json.json())["explanation"] == plain(result.to_dict())["explanation"]


def test_a_photo_that_is_not_assessed_has_no_map(service: Service, dark: bytes) -> None:
    answer = service.client.post("/v1/explain", content=dark, headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["status"]) == (422, "retake")
    answer = service.client.post("/v1/explain", content=dark)
    assert (answer.status_code, answer.json()["status"]) == (200, "retake")
    answer = service.client.post("/v1/explain", content=b"broken", headers={"Accept": "image/png"})
    assert (answer.status_code, answer.json()["status"]) == (415, "error")


def test_reports_are_of_the_format_asked_for(service: Service, lesion: bytes, dark: bytes) -> None:
    files = {"photo": ("Doe.jpg", lesion)}
    page = service.client.post("/v1/report", files=files)
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.text.count("<figure>") == 2  # the photo, and the map
    assert "Doe.jpg" in page.text
    as_json = service.client.post("/v1/report?format=json&target=BCC", files=files).json()
    assert as_json["explanation"]["target"] == "BCC"
    assert as_json["created"]
    picture = service.client.post("/v1/report", files=files, data={"format": "png"})
    assert picture.headers["Content-Type"] == "image/png"
    assert cv2.imdecode(np.frombuffer(picture.content, np.uint8), cv2.IMREAD_COLOR) is not None
    refused = service.client.post("/v1/report", content=dark)
    assert (refused.status_code, refused.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    unknown = service.client.post("/v1/report?format=pdf", files=files)
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (422, "bad_request")


def test_quality_is_that_of_the_library(
    service: Service, micro_classifier: Classifier, lesion: bytes, dark: bytes
) -> None:
    for photo in (lesion, dark):
        answer = service.client.post("/v1/quality", content=photo)
        assert answer.status_code == 200
        assert answer.json() == json.loads(json.dumps(to_plain(micro_classifier.assess_quality(photo))))
    assert answer.json()["failed"]
    assert service.client.post("/v1/quality?age=3", content=lesion).status_code == 422


def test_a_comparison_is_that_of_the_library(
    service: Service, micro_classifier: Classifier, lesion: bytes, other: bytes
) -> None:
    files = {"before": ("one.jpg", lesion), "after": ("two.png", other)}
    answer = service.client.post("/v1/compare?age=35", files=files)
    assert answer.status_code == 200
    assess = partial(micro_classifier.assess, explain="grad-cam", context=PatientContext(35))
    expected = compare_photos(assess(lesion, name="one.jpg"), assess(other, name="two.png")).to_dict()
    body = answer.json()
    assert body.keys() == expected.keys()
    for key in ("before", "after"):
        assert plain(body[key]) == plain(expected[key])
    assert body["changes"] == json.loads(json.dumps(expected["changes"]))
    assert body["registration"] == json.loads(json.dumps(expected["registration"]))


def test_photos_that_cannot_be_compared_are_answered_alone(
    service: Service, lesion: bytes, dark: bytes
) -> None:
    cases = ((dark, "not_assessed", "retake"), (b"broken", "not_assessed", "error"))
    for after, code, status in cases:
        files = {"before": ("one.jpg", lesion), "after": ("two.png", after)}
        answer = service.client.post("/v1/compare", files=files)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
        assert answer.json()["before"]["status"] == "assessed"
        assert answer.json()["after"]["status"] == status
        assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_photos_that_cannot_be_aligned_are_answered_alone(shared_micro_bundle: Path, lesion: bytes) -> None:
    """Without gates, to reach the alignment: skin without any mark fits nowhere."""
    skin = np.full((400, 400, 3), (150, 170, 210), np.uint8)
    skin = np.clip(skin + np.random.default_rng(1).normal(0, 9, skin.shape), 0, 255).astype(np.uint8)
    files = {"before": ("one.jpg", lesion), "after": ("two.png", png(skin))}
    with (
        Classifier(shared_micro_bundle, threads=1, quality_gate=False, scope_gate=False) as classifier,
        running(classifier) as open_service,
    ):
        answer = open_service.client.post("/v1/compare", files=files)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "registration")
    assert answer.json()["before"]["status"] == answer.json()["after"]["status"] == "assessed"


@pytest.mark.parametrize("parts", [("before",), ("after",), ("before", "after", "photo")])
def test_a_comparison_takes_two_parts(parts: tuple[str, ...], service: Service, lesion: bytes) -> None:
    answer = service.client.post("/v1/compare", files=dict.fromkeys(parts, ("a.jpg", lesion)))
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "bad_request")
    raw = service.client.post("/v1/compare", content=lesion)
    assert (raw.status_code, raw.json()["error"]["code"]) == (422, "bad_request")


def test_the_model_is_described(service: Service, strict: Service, micro_classifier: Classifier) -> None:
    model, other = (one.client.get("/v1/model").json() for one in (service, strict))
    manifest: Manifest = micro_classifier.manifest
    assert model["sha256"] == micro_classifier.model.sha256
    assert (model["precision"], other["precision"]) == ("int8", "fp32")
    assert [one["code"] for one in model["classes"]] == list(manifest.classes)
    assert {one["code"] for one in model["classes"] if one["cancer"]} == set(manifest.cancer_classes)
    assert model["classes"][0] == {"code": "MEL", "name": "melanoma", "cancer": True}
    assert [one["threshold"] for one in model["operating_points"]] == [0.3, 0.6]
    assert "occlusion" in model["methods"]
    assert model["targets"] == ["cancer", *manifest.classes]
    assert "nail" in model["sites"]
    assert model["gates"] == {"quality": True, "scope": True}
    assert other["gates"] == {"quality": True, "scope": False}
    assert model["limits"] == {
        "max_megabytes": 20, "max_megapixels": 100, "batch": 32, "time_limit_s": 30,
        "requests_per_minute": None,
    }  # fmt: skip
    assert other["limits"]["batch"] == 3
    assert (model["wording"], model["records"]) == (False, False)
    assert "not a medical device" in model["notice"]


def test_health_answers_while_all_workers_work(service: Service, lesion: bytes) -> None:
    with service.occupied(service.app.state.queue.workers):
        assert service.client.get("/healthz").status_code == 200
        assert service.client.get("/v1/model").status_code == 200


def test_a_request_whose_time_is_up_is_answered(micro_classifier: Classifier, lesion: bytes) -> None:
    """The thread of the request before works on, though its time is up too."""
    with running(micro_classifier, time_limit_s=0.3) as hasty, hasty.occupied():
        answer = hasty.client.post("/v1/assess", content=lesion)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "timed_out")
        assert int(answer.headers["Retry-After"]) >= 1


def test_the_work_of_a_client_that_left_is_dropped(
    service: Service, micro_classifier: Classifier, lesion: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(micro_classifier, "assess", lambda *_, **__: seen.append(1))
    head = f"POST /v1/assess HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(lesion)}\r\n\r\n".encode()
    queue = service.app.state.queue
    with service.occupied(queue.workers):
        with socket.create_connection(("127.0.0.1", service.port), timeout=30) as connection:
            connection.sendall(head + lesion)
            service.until(lambda: queue.waiting == 1)
        service.until(lambda: queue.waiting == 0)
    assert seen == []


def test_simultaneous_clients_get_their_own_answers(
    service: Service, micro_classifier: Classifier, lesion: bytes, dark: bytes
) -> None:
    expected = {name: plain(micro_classifier.assess(photo, name=name).to_dict())
                for name, photo in (("a", lesion), ("b", dark))}  # fmt: skip
    wrong: list[httpx.Response] = []

    def ask(name: str, photo: bytes) -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=30) as client:
            for _ in range(5):
                answer = client.post("/v1/assess", files={"photo": (name, photo)})
                if answer.status_code != 200 or plain(answer.json()) != expected[name]:
                    wrong.append(answer)

    threads = [threading.Thread(target=ask, args=pair) for pair in (("a", lesion), ("b", dark)) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []

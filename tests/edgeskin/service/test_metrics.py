"""Metrics, as a Prometheus server reads them."""

import httpx
import pytest

from tests.edgeskin.service.conftest import Service, running

pytest.importorskip("prometheus_client", reason="the extra serve is not installed")

from prometheus_client.parser import text_string_to_metric_families

from edgeskin.classifier import Classifier


def samples(client: httpx.Client) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Each sample by name and labels."""
    found = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for one in family.samples:
            found[one.name, tuple(sorted(one.labels.items()))] = one.value
    return found


def test_requests_and_assessments_are_counted(micro_classifier: Classifier, lesion: bytes) -> None:
    with running(micro_classifier) as service:
        for content in (lesion, lesion, b"broken"):
            service.client.post("/v1/assess", content=content)
        service.client.post("/v1/assess/batch", files=[("photo", ("a", lesion)), ("photo", ("b", b"broken"))])
        found = samples(service.client)
    assert found["edgeskin_requests_total", (("route", "/v1/assess"), ("status", "200"))] == 2
    assert found["edgeskin_requests_total", (("route", "/v1/assess"), ("status", "415"))] == 1
    assert found["edgeskin_requests_total", (("route", "/v1/assess/batch"), ("status", "200"))] == 1
    assert found["edgeskin_assessments_total", (("status", "assessed"),)] == 3
    assert found["edgeskin_assessments_total", (("status", "error"),)] == 2
    assert found["edgeskin_request_seconds_count", (("route", "/v1/assess"),)] == 3
    assert found["edgeskin_request_seconds_bucket", (("le", "+Inf"), ("route", "/v1/assess"))] == 3
    assert found["edgeskin_records_failed_total", ()] == 0


def test_the_queue_is_shown(micro_classifier: Classifier) -> None:
    with running(micro_classifier) as service:
        with service.occupied(3):
            found = samples(service.client)
            assert found["edgeskin_workers", ()] == found["edgeskin_workers_busy", ()] == 1
            assert found["edgeskin_queue_waiting", ()] == 2
        found = samples(service.client)
        assert found["edgeskin_workers_busy", ()] == found["edgeskin_queue_waiting", ()] == 0


def test_no_client_chooses_a_label(micro_classifier: Classifier) -> None:
    """Whatever it asks for, the samples stay as many."""
    with running(micro_classifier) as service:

        def ask(number: int) -> int:
            service.client.get(f"/none{number}")
            service.client.get(f"/static/none{number}.js")
            service.client.get(f"/v1/model/none{number}?a={number}")
            service.client.request(f"BREW{number}", "/healthz")
            service.client.get("/healthz", headers={"X-Request-ID": f"{number}", "Host": "localhost"})
            return len(samples(service.client))

        ask(0)  # the scrape itself is counted from the second on
        assert ask(1) == ask(2)


def test_the_format_is_that_of_prometheus(service: Service) -> None:
    answer = service.client.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")

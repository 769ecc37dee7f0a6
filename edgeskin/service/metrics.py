"""Counters and gauges for Prometheus, in a registry of this service's own."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from edgeskin.service.waiting_queue import WaitingQueue

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """What the service counts. No label has values that a client chooses.

    Attributes:
        assessments: Photos by the status of their assessment.
        records_failed: Records that could not be written.
    """

    def __init__(self, queue: WaitingQueue) -> None:
        """Count from zero. queue: its length and its busy threads are shown."""
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "edgeskin_requests",
            "Requests by route and HTTP status",
            ["route", "status"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "edgeskin_request_seconds",
            "Seconds from a request's first byte to its answer's last, by route",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.assessments = Counter(
            "edgeskin_assessments", "Photos by status of the assessment", ["status"], registry=self._registry
        )
        self.records_failed = Counter(
            "edgeskin_records_failed", "Records that could not be written", registry=self._registry
        )
        gauges = {
            "edgeskin_queue_waiting": ("Photos that wait", lambda: queue.waiting),
            "edgeskin_workers_busy": ("Workers that are busy", lambda: queue.busy),
            "edgeskin_workers": ("Workers", lambda: queue.workers),
        }
        for name, (text, value) in gauges.items():
            Gauge(name, text, registry=self._registry).set_function(value)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request, by its route's template."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)

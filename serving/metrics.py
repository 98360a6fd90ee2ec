"""Counts and latencies, under the names by which TensorFlow Serving exports its own to Prometheus."""

from __future__ import annotations

import threading
from collections import Counter

import grpc
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric

METRICS_PATH = "/monitoring/prometheus/metrics"
COUNT = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
_BUCKETS = [10 * 1.8**i for i in range(33)]  # microseconds


class Metrics:
    """The counts of one server."""

    def __init__(self):
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        self._latency = Histogram(
            LATENCY,
            "Distribution of wall time (in microseconds).",
            ["model_name", "API", "entrypoint"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._registry.register(self)

    def count(self, model: str, code: grpc.StatusCode, method: str, api: str, seconds: float) -> None:
        """Count one request to a model (Predict, Classify …) that came by ``api`` (GRPC or REST)."""
        with self._lock:
            self._counts[model, code.name] += 1
        if code == grpc.StatusCode.OK:
            self._latency.labels(model, method, api).observe(seconds * 1e6)

    def collect(self):
        """For Prometheus's registry; as its Counter the name would end in ``_total``, which the real one's does not."""
        metric = Metric(COUNT, "The total number of requests.", "unknown")
        with self._lock:
            for (model, status), n in self._counts.items():
                metric.add_sample(COUNT, {"model_name": model, "status": status}, n)
        yield metric

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self._registry)

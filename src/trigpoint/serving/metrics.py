"""What Prometheus is told: numbers of requests and images, never a name."""

from __future__ import annotations

from collections.abc import Callable, Collection

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one service; ``paths``: addresses that are told apart, all others are one."""

    def __init__(self, paths: Collection[str], model: dict[str, str], queue: Callable[[], float]) -> None:
        self._paths = frozenset(paths)
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = Counter(
            "trigpoint_requests", "Requests that were answered.", ["path", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "trigpoint_request_seconds",
            "From the first byte of a request to its answer.",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.images = Counter("trigpoint_images", "Images in which landmarks were looked for.", registry=self.registry)
        self.refused = Counter(
            "trigpoint_refused_images", "Images that could not be read or used.", registry=self.registry
        )
        self.batch = Histogram(
            "trigpoint_batch_images", "Images predicted together.", buckets=_IMAGES, registry=self.registry
        )
        Gauge("trigpoint_queue_images", "Images received, waiting or worked on.", registry=self.registry).set_function(
            queue
        )
        Info("trigpoint_model", "The model that is served.", registry=self.registry).info(model)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        known = path if path in self._paths else "other"
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

"""What the server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The counters of one server, in a registry of their own; also an engine's watcher."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Memory and open files of the process.
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "ucuie_requests",
            "Requests answered.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._request_seconds = Histogram(
            "ucuie_request_seconds",
            "From the beginning of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._texts = Counter("ucuie_texts", "Texts extracted from.", registry=self.registry)
        self._records = Counter("ucuie_records", "Records found.", registry=self.registry)
        self._batch_texts = Histogram(
            "ucuie_batch_texts", "Texts of a batch.", buckets=_TEXTS, registry=self.registry
        )
        self._batch_seconds = Histogram(
            "ucuie_batch_seconds", "Work on a batch.", buckets=_SECONDS, registry=self.registry
        )
        self.waiting = Gauge("ucuie_waiting_texts", "Texts in the queue.", registry=self.registry)
        self.running = Gauge("ucuie_running_texts", "Texts that the model is at.", registry=self.registry)
        self.ready = Gauge("ucuie_ready", "1 once the model is loaded.", registry=self.registry)

    def request_done(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request is answered; `route` is the pattern of its path, never the path itself."""
        self._requests.labels(route, method, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def batch_done(self, num_texts: int, num_records: int, seconds: float) -> None:
        """A batch is answered."""
        self._texts.inc(num_texts)
        self._records.inc(num_records)
        self._batch_texts.observe(num_texts)
        self._batch_seconds.observe(seconds)

    def exposition(self) -> bytes:
        """All of it in Prometheus's text format."""
        return generate_latest(self.registry)

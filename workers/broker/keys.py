"""Names of the keys in Redis."""

WORKERS = "ms:workers"
"""Set of worker ids; each has a status under `worker(id)` while it is alive."""


def ephemeral_key(digest: str) -> str:
    """Session object of an ephemeral key, by the key's SHA-256."""
    return f"ms:ephemeral:{digest}"


def worker(worker_id: str) -> str:
    """Heartbeat of a worker: its `WorkerStatus`, with a time to live."""
    return f"ms:worker:{worker_id}"


def worker_metrics(worker_id: str) -> str:
    """A worker's metrics in Prometheus text format, with a time to live."""
    return f"ms:metrics:{worker_id}"


def offers(service: str) -> str:
    """List of streams that wait for a worker of this service."""
    return f"ms:open:{service}"


def stream(stream_id: str) -> str:
    """Hash `lease`, `owner` of one stream; kept alive by its gateway."""
    return f"ms:stream:{stream_id}"


def inbox(process_id: str) -> str:
    """Redis stream of envelopes to one worker or gateway."""
    return f"ms:in:{process_id}"


def video(stream_id: str) -> str:
    """Mailbox that holds the latest frame of one stream."""
    return f"ms:video:{stream_id}"

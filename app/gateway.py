"""What every door of one gateway shares."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis.asyncio import Redis
from starlette.requests import HTTPConnection

from app.auth import Gatekeeper
from app.metrics import GatewayMetrics, SessionMetrics
from app.realtime.runner import Bounds, Connection, Runner
from app.realtime.session import Session
from app.rtc.broadcast import Broadcast
from app.rtc.calls import Calls
from app.settings import Settings
from workers.broker.client import StreamClient


class TooManySessions(Exception):
    """This gateway serves as many sessions as it may."""


@dataclass
class Gateway:
    """Settings, connections and counters of a gateway process."""

    settings: Settings
    redis: Redis
    streams: StreamClient
    gatekeeper: Gatekeeper
    metrics: GatewayMetrics = field(default_factory=GatewayMetrics)
    in_progress: int = 0
    broadcasts: dict[str, Broadcast] = field(default_factory=dict)
    calls: Calls = field(init=False)

    def __post_init__(self) -> None:
        self.calls = Calls(self)

    def runner(self, session: Session, connection: Connection) -> Runner:
        """What runs a Realtime session on a client's connection."""
        settings = self.settings
        bounds = Bounds(settings.events_per_s, settings.send_timeout_s, settings.recovery_timeout_s)
        return Runner(session, connection, self.streams, SessionMetrics(self.metrics), bounds)

    @contextmanager
    def session(self, door: str) -> Iterator[None]:
        """Count a session for as long as it lasts. Raises TooManySessions."""
        if self.in_progress >= self.settings.max_sessions:
            self.metrics.refused.labels("too_many_sessions").inc()
            raise TooManySessions(f"this gateway serves {self.settings.max_sessions} sessions at most")
        self.in_progress += 1
        self.metrics.sessions.labels(door).inc()
        try:
            yield
        finally:
            self.in_progress -= 1
            self.metrics.sessions.labels(door).dec()


def gateway_of(connection: HTTPConnection) -> Gateway:
    """The gateway that serves a request."""
    gateway: Gateway = connection.state.gateway
    return gateway

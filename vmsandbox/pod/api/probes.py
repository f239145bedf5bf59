"""core/v1: Probe and its actions."""

import enum
from dataclasses import dataclass
from typing import ClassVar

from vmsandbox.typed_yaml import Located


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecAction(Located):
    """ExecAction."""

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepAction(Located):
    """SleepAction."""

    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocketAction(Located):
    """TCPSocketAction; a port is a number, or the name of one of the container's."""

    port: int | str
    host: str = ""


class Scheme(enum.Enum):
    """URIScheme."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpHeader(Located):
    """HTTPHeader."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpGetAction(Located):
    """HTTPGetAction; a port is a number, or the name of one of the container's."""

    port: int | str
    path: str = "/"
    host: str = ""
    scheme: Scheme = Scheme.HTTP
    http_headers: tuple[HttpHeader, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe(Located):
    """Probe: exactly one action. Times are seconds."""

    REFUSED: ClassVar = {"grpc": "a probe is a command, an HTTP request or a TCP connection here"}

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    initial_delay_seconds: int = 0
    timeout_seconds: int = 1
    period_seconds: int = 10
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleHandler(Located):
    """LifecycleHandler: exactly one of its fields."""

    REFUSED: ClassVar = {"tcpSocket": "Kubernetes does not run it either"}

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    sleep: SleepAction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle(Located):
    """Lifecycle."""

    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None
    stop_signal: str = ""


class MessagePolicy(enum.Enum):
    """TerminationMessagePolicy."""

    FILE = "File"
    FALLBACK_TO_LOGS_ON_ERROR = "FallbackToLogsOnError"

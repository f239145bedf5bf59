"""Whether hooks and probes can be run as they are written."""

import re

from vmsandbox.pod.api.container import Container
from vmsandbox.pod.api.probes import HttpGetAction, LifecycleHandler, Probe, TcpSocketAction

MOST_PORTS = 65536
_VISIBLE = re.compile(r"[!-~]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER = re.compile(r"[ -~]*")


def check_actions(container: Container) -> None:
    """Raise InvalidArgument for the first hook or probe that cannot be."""
    for hook in (container.lifecycle.post_start, container.lifecycle.pre_stop):
        if hook is not None:
            _check_handler(hook, container)
    for probe in (container.startup_probe, container.liveness_probe):
        if probe is not None:
            _check_probe(probe, container)


def _check_handler(hook: LifecycleHandler, container: Container) -> None:
    if sum(action is not None for action in (hook.exec, hook.http_get, hook.sleep)) != 1:
        raise hook.at.error("a hook needs exactly one action: exec, httpGet or sleep")
    if hook.sleep and hook.sleep.seconds < 0:
        raise hook.sleep.at.of("seconds").error("it cannot be negative")
    if hook.http_get:
        _check_port(hook.http_get, container)


def _check_probe(probe: Probe, container: Container) -> None:
    if sum(action is not None for action in (probe.exec, probe.http_get, probe.tcp_socket)) != 1:
        raise probe.at.error("a probe needs exactly one action: exec, httpGet or tcpSocket")
    if probe.success_threshold != 1:
        raise probe.at.of("successThreshold").error("it is 1 for a startup or liveness probe")
    least = {"initialDelaySeconds": 0, "timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": 1}
    given = (probe.initial_delay_seconds, probe.timeout_seconds, probe.period_seconds, probe.failure_threshold)
    for (name, smallest), number in zip(least.items(), given, strict=True):
        if number < smallest:
            raise probe.at.of(name).error(f"it is at least {smallest}")
    if action := probe.http_get or probe.tcp_socket:
        _check_port(action, container)


def _check_port(action: HttpGetAction | TcpSocketAction, container: Container) -> None:
    number = int(action.port) if str(action.port).isdecimal() else None
    if number is None and action.port not in {port.name for port in container.ports if port.name}:
        raise action.at.of("port").error(f"the container has no port {str(action.port)[:80]!r}")
    if number is not None and not 0 < number < MOST_PORTS:
        raise action.at.of("port").error(f"{number} is no port")
    if isinstance(action, HttpGetAction):
        _check_request(action)


def _check_request(action: HttpGetAction) -> None:
    texts = {"path": action.path, "host": action.host}
    for name, text in texts.items():
        if not _VISIBLE.fullmatch(text):
            raise action.at.of(name).error("it has characters that no request can have")
    for header in action.http_headers:
        if not _TOKEN.fullmatch(header.name):
            raise header.at.of("name").error(f"{header.name[:80]!r} is no name of a header")
        if not _HEADER.fullmatch(header.value):
            raise header.at.of("value").error("it has characters that no header can have")

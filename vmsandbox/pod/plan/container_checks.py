"""Checks of a container that Kubernetes' validation would make."""

import re
from collections.abc import Mapping

from vmsandbox.errors import Collected
from vmsandbox.pod.api import (
    Container,
    HostPathType,
    HttpGetAction,
    LifecycleHandler,
    Probe,
    Propagation,
    TcpSocketAction,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from vmsandbox.pod.plan.value_checks import check_id, check_resources, unique

MOST_PORTS = 65536
_VISIBLE = re.compile(r"[!-~]*")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER = re.compile(r"[ -~]*")


def check_container(container: Container, volumes: Mapping[str, Volume]) -> None:
    """Raise InvalidArgument, with all mistakes; `volumes` are the pod's by their names."""
    collected = Collected()
    for variable in ("run_as_user", "run_as_group"):
        collected.of(check_id, container.security_context.at, variable, getattr(container.security_context, variable))
    for port in container.ports:
        for name, number, least in (("containerPort", port.container_port, 1), ("hostPort", port.host_port, 0)):
            collected.when(not least <= number < MOST_PORTS, port.at.of(name).error(f"{number} is not a port"))
    collected.of(check_resources, container.resources)
    collected.of(check_actions, container)
    security = container.security_context
    escalating = security.privileged and security.allow_privilege_escalation is False
    at = security.at.of("allowPrivilegeEscalation")
    collected.when(escalating, at.error("a privileged container can always escalate"))
    mounts, devices = container.volume_mounts, container.volume_devices
    collected.of(unique, ((mount.at.of("mountPath"), mount.mount_path) for mount in mounts), "mountPath")
    for mount in mounts:
        collected.of(_check_mount, mount, container, set(volumes))
    collected.of(unique, ((device.at.of("devicePath"), device.device_path) for device in devices), "devicePath")
    collected.of(unique, ((device.at.of("name"), device.name) for device in devices), "name")
    for device in devices:
        collected.of(_check_device, device, container, volumes.get(device.name))
    collected.check()


def _check_device(device: VolumeDevice, container: Container, volume: Volume | None) -> None:
    if volume is None:
        raise device.at.of("name").error(f"the pod has no volume {device.name[:80]!r}")
    source = volume.host_path
    if source is None or source.type not in (HostPathType.BLOCK_DEVICE, HostPathType.FILE):
        raise device.at.of("name").error(
            f"volume {device.name!r} is not a block device", hint="use a hostPath of type BlockDevice or File"
        )
    path = device.device_path
    if not path.startswith("/") or ".." in path.split("/"):
        raise device.at.of("devicePath").error("the path of a device must be absolute, without ..")
    if path in {mount.mount_path for mount in container.volume_mounts}:
        raise device.at.of("devicePath").error("a volume is mounted at this path")
    if device.name in {mount.name for mount in container.volume_mounts}:
        raise device.at.of("name").error("the container also mounts this volume")


def _check_mount(mount: VolumeMount, container: Container, volumes: set[str]) -> None:
    if mount.name not in volumes:
        raise mount.at.of("name").error(f"the pod has no volume {mount.name[:80]!r}")
    if ".." in mount.mount_path.split("/"):
        raise mount.at.of("mountPath").error("a mount path must be without ..")
    if mount.sub_path and mount.sub_path_expr:
        raise mount.at.of("subPathExpr").error("subPath and subPathExpr exclude each other")
    for name, path in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
        if path.startswith("/") or ".." in path.split("/"):
            raise mount.at.of(name).error("it must be a path below the volume, without ..")
    if mount.mount_propagation is Propagation.BIDIRECTIONAL and not container.security_context.privileged:
        raise mount.at.of("mountPropagation").error("Bidirectional needs a privileged container")


def check_actions(container: Container) -> None:
    """Raise InvalidArgument, with the first mistake of each hook and probe."""
    collected = Collected()
    for hook in (container.lifecycle.post_start, container.lifecycle.pre_stop):
        if hook is not None:
            collected.of(_check_handler, hook, container)
    for probe in (container.startup_probe, container.liveness_probe):
        if probe is not None:
            collected.of(_check_probe, probe, container)
    collected.check()


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
        raise action.at.of("port").error(f"{number} is not a port")
    if isinstance(action, HttpGetAction):
        _check_request(action)


def _check_request(action: HttpGetAction) -> None:
    texts = {"path": action.path, "host": action.host}
    for name, text in texts.items():
        if not _VISIBLE.fullmatch(text):
            raise action.at.of(name).error("it contains characters that a request cannot have")
    for header in action.http_headers:
        if not _TOKEN.fullmatch(header.name):
            raise header.at.of("name").error(f"{header.name[:80]!r} is not the name of a header")
        if not _HEADER.fullmatch(header.value):
            raise header.at.of("value").error("it contains characters that a header cannot have")

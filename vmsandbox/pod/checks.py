"""What Kubernetes' validation would refuse, and what a machine cannot give; found before anything starts."""

import re
from collections.abc import Iterable

from vmsandbox.pod.api.container import Container, ResourceRequirements, RestartPolicy
from vmsandbox.pod.api.pod import Pod, PodSpec
from vmsandbox.pod.api.volumes import Propagation, RecursiveReadOnly, VolumeMount
from vmsandbox.pod.quantity import ZERO, Quantity
from vmsandbox.pod.tree import Node

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_LABEL.pattern}(\.{_LABEL.pattern})*")
_SYSCTL = re.compile(r"[a-z0-9]([-_a-z0-9]*[a-z0-9])?([./][a-z0-9]([-_a-z0-9]*[a-z0-9])?)*")
_KNOWN_RESOURCES = ("cpu", "memory")


def check_pod(pod: Pod) -> None:
    """Raise InvalidArgument for the first thing that cannot be."""
    _matches(pod.metadata.at.of("name"), _SUBDOMAIN, pod.metadata.name)
    _matches(pod.metadata.at.of("namespace"), _LABEL, pod.metadata.namespace)
    spec = pod.spec
    _check_spec(spec)
    _check_names(spec)
    volumes = {volume.name for volume in spec.volumes}
    for container in spec.init_containers:
        if container.restart_policy not in (None, RestartPolicy.ALWAYS):
            raise container.at.of("restartPolicy").error("an init container has restartPolicy Always, or none")
        if container.lifecycle.post_start and not container.sidecar:
            raise container.lifecycle.at.of("postStart").error("an init container has no hooks unless it is a sidecar")
    for container in spec.containers:
        if container.restart_policy is not None:
            raise container.at.of("restartPolicy").error("containers restart by the pod's restartPolicy")
    for container in (*spec.init_containers, *spec.containers):
        _check_container(container, volumes)


def _check_spec(spec: PodSpec) -> None:
    if not spec.containers:
        raise spec.at.of("containers").error("a pod has at least one container")
    if spec.host_network:
        raise spec.at.of("hostNetwork").error("a virtual machine cannot have the host's network")
    if not spec.host_users:
        raise spec.at.of("hostUsers").error(
            "user namespaces are not supported yet", hint="the machine already isolates"
        )
    if spec.host_pid and spec.share_process_namespace:
        raise spec.at.of("shareProcessNamespace").error("hostPID and shareProcessNamespace exclude each other")
    if spec.os and spec.os.name != "linux":
        raise spec.os.at.of("name").error("pods are Linux machines")
    if spec.termination_grace_period_seconds < 0:
        raise spec.at.of("terminationGracePeriodSeconds").error("it cannot be negative")
    if spec.active_deadline_seconds is not None and spec.active_deadline_seconds <= 0:
        raise spec.at.of("activeDeadlineSeconds").error("it has to be positive")
    for name in ("hostname", "subdomain"):
        if text := getattr(spec, name):
            _matches(spec.at.of(name), _LABEL, text)
    if spec.hostname_override:
        _matches(spec.at.of("hostnameOverride"), _SUBDOMAIN, spec.hostname_override)
    _check_security(spec)
    _check_resources(spec.resources)


def _check_security(spec: PodSpec) -> None:
    security = spec.security_context
    for name in ("run_as_user", "run_as_group", "fs_group"):
        _check_id(security.at, name, getattr(security, name))
    for group in security.supplemental_groups:
        _check_id(security.at, "supplemental_groups", group)
    _unique(((sysctl.at.of("name"), sysctl.name) for sysctl in security.sysctls), "sysctl")
    for sysctl in security.sysctls:
        _matches(sysctl.at.of("name"), _SYSCTL, sysctl.name)


def _check_names(spec: PodSpec) -> None:
    containers = (*spec.init_containers, *spec.containers)
    _unique(((container.at.of("name"), container.name) for container in containers), "container")
    _unique(((volume.at.of("name"), volume.name) for volume in spec.volumes), "volume")
    for at, name in [(each.at, each.name) for each in containers] + [(each.at, each.name) for each in spec.volumes]:
        _matches(at.of("name"), _LABEL, name)
    ports = (
        (port.at.of("hostPort"), f"{port.host_ip}:{port.host_port}/{port.protocol.value}")
        for container in containers
        for port in container.ports
        if port.host_port
    )
    _unique(ports, "hostPort")


def _check_container(container: Container, volumes: set[str]) -> None:
    for variable in ("run_as_user", "run_as_group"):
        _check_id(container.security_context.at, variable, getattr(container.security_context, variable))
    for port in container.ports:
        for name, number, least in (("containerPort", port.container_port, 1), ("hostPort", port.host_port, 0)):
            if not least <= number < 65536:
                raise port.at.of(name).error(f"{number} is no port")
    _check_resources(container.resources)
    security = container.security_context
    if security.privileged and security.allow_privilege_escalation is False:
        raise security.at.of("allowPrivilegeEscalation").error("a privileged container cannot be kept from it")
    _unique(((mount.at.of("mountPath"), mount.mount_path) for mount in container.volume_mounts), "mountPath")
    for mount in container.volume_mounts:
        _check_mount(mount, container, volumes)


def _check_mount(mount: VolumeMount, container: Container, volumes: set[str]) -> None:
    if mount.name not in volumes:
        raise mount.at.of("name").error(f"the pod has no volume {mount.name[:80]!r}")
    if not mount.mount_path.startswith("/") or ".." in mount.mount_path.split("/"):
        raise mount.at.of("mountPath").error("a mount path is absolute, without ..")
    if mount.sub_path and mount.sub_path_expr:
        raise mount.at.of("subPathExpr").error("subPath and subPathExpr exclude each other")
    for name, path in (("subPath", mount.sub_path), ("subPathExpr", mount.sub_path_expr)):
        if path.startswith("/") or ".." in path.split("/"):
            raise mount.at.of(name).error("it is a path below the volume, without ..")
    if mount.mount_propagation is Propagation.BIDIRECTIONAL and not container.security_context.privileged:
        raise mount.at.of("mountPropagation").error("Bidirectional is for privileged containers")
    if mount.recursive_read_only is not RecursiveReadOnly.DISABLED:
        if not mount.read_only:
            raise mount.at.of("recursiveReadOnly").error("it needs readOnly: true")
        if mount.mount_propagation is not Propagation.NONE:
            raise mount.at.of("recursiveReadOnly").error("it excludes mountPropagation")


def _check_resources(resources: ResourceRequirements) -> None:
    for kind, quantities in (("limits", resources.limits), ("requests", resources.requests)):
        for name, quantity in quantities.items():
            at = resources.at.of(kind).of(name)
            if quantity < ZERO:
                raise at.error("it cannot be negative")
            if name not in _KNOWN_RESOURCES and (kind, name) != ("requests", "ephemeral-storage"):
                raise at.error("this resource is not supported; supported are cpu and memory")
    for name in _KNOWN_RESOURCES:
        limit: Quantity | None = resources.limits.get(name)
        request = resources.requests.get(name)
        if limit and request and request > limit > ZERO:
            raise resources.at.of("requests").of(name).error("it is larger than the limit")


def _check_id(at: Node, name: str, number: int | None) -> None:
    if number is not None and not 0 <= number < 2**31:
        first, *rest = name.split("_")
        key = first + "".join(word.capitalize() for word in rest)
        raise at.of(key).error(f"{number} is no user or group id")


def _matches(at: Node, pattern: re.Pattern[str], text: str) -> None:
    if not pattern.fullmatch(text):
        raise at.error(f"{text[:80]!r} is no name: lower case letters, digits and -")


def _unique(names: Iterable[tuple[Node, str]], what: str) -> None:
    seen: set[str] = set()
    for at, name in names:
        if name in seen:
            raise at.error(f"there are two of this {what}: {name[:80]}")
        seen.add(name)

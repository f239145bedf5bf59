"""Checks of a pod before anything starts: those of Kubernetes' validation, and features that no machine has."""

from vmsandbox.pod.api import ConfigMap, Container, Lifecycle, Pod, PodSpec, RestartPolicy, Secret, Volume
from vmsandbox.pod.plan.container_checks import check_container
from vmsandbox.pod.plan.value_checks import KEY, LABEL, SUBDOMAIN, SYSCTL, check_id, check_resources, matches, unique
from vmsandbox.quantity import ZERO


def check_pod(pod: Pod) -> None:
    """Raise InvalidArgument for the first error."""
    matches(pod.metadata.at.of("name"), SUBDOMAIN, pod.metadata.name)
    matches(pod.metadata.at.of("namespace"), LABEL, pod.metadata.namespace)
    spec = pod.spec
    _check_spec(spec)
    _check_names(spec)
    volumes = {volume.name: volume for volume in spec.volumes}
    for volume in spec.volumes:
        _check_volume(volume)
    for container in spec.init_containers:
        _check_init_container(container)
    for container in spec.containers:
        if container.restart_policy is not None:
            raise container.at.of("restartPolicy").error("containers restart by the pod's restartPolicy")
    for container in (*spec.init_containers, *spec.containers):
        check_container(container, volumes)
        if container.volume_devices and not spec.host_users:
            raise container.at.of("volumeDevices").error("with hostUsers: false a pod has no block devices")


def check_object(found: ConfigMap | Secret) -> None:
    """Raise InvalidArgument for the first thing of a ConfigMap or a Secret."""
    matches(found.metadata.at.of("name"), SUBDOMAIN, found.metadata.name)
    fields = {"data": found.data.keys()}
    fields |= {"binaryData": found.binary_data.keys()} if isinstance(found, ConfigMap) else {}
    fields |= {"stringData": found.string_data.keys()} if isinstance(found, Secret) else {}
    for name, keys in fields.items():
        for key in keys:
            if not KEY.fullmatch(key):
                raise (
                    found.at.of(name)
                    .of(key)
                    .error("a key may contain letters, digits, -, _ and . only, and must not be . or ..")
                )
    if isinstance(found, ConfigMap) and (both := found.data.keys() & found.binary_data.keys()):
        raise found.at.of("binaryData").of(min(both)).error("this key is also in data")


def _check_volume(volume: Volume) -> None:
    if volume.host_path and (not volume.host_path.path.startswith("/") or ".." in volume.host_path.path.split("/")):
        raise volume.host_path.at.of("path").error("a path of the host is absolute, without ..")
    if volume.empty_dir and volume.empty_dir.size_limit and volume.empty_dir.size_limit < ZERO:
        raise volume.empty_dir.at.of("sizeLimit").error("it cannot be negative")


def _check_init_container(container: Container) -> None:
    if container.restart_policy not in (None, RestartPolicy.ALWAYS):
        raise container.at.of("restartPolicy").error("an init container has restartPolicy Always, or none")
    if container.sidecar:
        return
    given = {
        "lifecycle": container.lifecycle != Lifecycle(),
        "livenessProbe": container.liveness_probe,
        "startupProbe": container.startup_probe,
    }
    for name, value in given.items():
        if value:
            raise container.at.of(name).error("an init container cannot have it, unless it is a sidecar")


def _check_spec(spec: PodSpec) -> None:
    if not spec.containers:
        raise spec.at.of("containers").error("a pod needs at least one container")
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
            matches(spec.at.of(name), LABEL, text)
    if spec.hostname_override:
        matches(spec.at.of("hostnameOverride"), SUBDOMAIN, spec.hostname_override)
    _check_security(spec)
    check_resources(spec.resources)


def _check_security(spec: PodSpec) -> None:
    security = spec.security_context
    for name in ("run_as_user", "run_as_group", "fs_group"):
        check_id(security.at, name, getattr(security, name))
    for group in security.supplemental_groups:
        check_id(security.at, "supplemental_groups", group)
    unique(((sysctl.at.of("name"), sysctl.name) for sysctl in security.sysctls), "sysctl")
    for sysctl in security.sysctls:
        matches(sysctl.at.of("name"), SYSCTL, sysctl.name)


def _check_names(spec: PodSpec) -> None:
    containers = (*spec.init_containers, *spec.containers)
    unique(((container.at.of("name"), container.name) for container in containers), "container")
    unique(((volume.at.of("name"), volume.name) for volume in spec.volumes), "volume")
    for at, name in [(each.at, each.name) for each in containers] + [(each.at, each.name) for each in spec.volumes]:
        matches(at.of("name"), LABEL, name)
    ports = (
        (port.at.of("hostPort"), f"{port.host_ip}:{port.host_port}/{port.protocol.value}")
        for container in containers
        for port in container.ports
        if port.host_port
    )
    unique(ports, "hostPort")

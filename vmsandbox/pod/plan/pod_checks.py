"""Checks of a pod before anything starts: those of Kubernetes' validation, and features that no machine has."""

from vmsandbox.errors import Collected
from vmsandbox.pod.api import ConfigMap, Container, Lifecycle, Pod, PodSpec, RestartPolicy, Secret, Volume
from vmsandbox.pod.plan.container_checks import check_container
from vmsandbox.pod.plan.value_checks import KEY, LABEL, SUBDOMAIN, SYSCTL, check_id, check_resources, matches, unique
from vmsandbox.quantity import ZERO


def check_pod(pod: Pod) -> None:
    """Raise InvalidArgument, with all mistakes."""
    collected = Collected()
    collected.of(matches, pod.metadata.at.of("name"), SUBDOMAIN, pod.metadata.name)
    collected.of(matches, pod.metadata.at.of("namespace"), LABEL, pod.metadata.namespace)
    spec = pod.spec
    collected.of(_check_spec, spec)
    collected.of(_check_names, spec)
    volumes = {volume.name: volume for volume in spec.volumes}
    for volume in spec.volumes:
        collected.of(_check_volume, volume)
    for container in spec.init_containers:
        collected.of(_check_init_container, container)
    for container in spec.containers:
        at = container.at.of("restartPolicy")
        collected.when(container.restart_policy, at.error("containers restart by the pod's restartPolicy"))
    for container in (*spec.init_containers, *spec.containers):
        collected.of(check_container, container, volumes)
        unmapped = container.volume_devices and not spec.host_users
        at = container.at.of("volumeDevices")
        collected.when(unmapped, at.error("with hostUsers: false a pod has no block devices"))
    collected.check()


def check_object(found: ConfigMap | Secret) -> None:
    """Raise InvalidArgument, with all mistakes of a ConfigMap or a Secret."""
    collected = Collected()
    collected.of(matches, found.metadata.at.of("name"), SUBDOMAIN, found.metadata.name)
    fields = {"data": found.data.keys()}
    fields |= {"binaryData": found.binary_data.keys()} if isinstance(found, ConfigMap) else {}
    fields |= {"stringData": found.string_data.keys()} if isinstance(found, Secret) else {}
    for name, keys in fields.items():
        for key in keys:
            wrong = "a key may contain letters, digits, -, _ and . only, and must not be . or .."
            collected.when(not KEY.fullmatch(key), found.at.of(name).of(key).error(wrong))
    for key in sorted(found.data.keys() & found.binary_data.keys()) if isinstance(found, ConfigMap) else ():
        collected.add((found.at.of("binaryData").of(key).error("this key is also in data"),))
    collected.check()


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
    collected = Collected()
    given = {
        "lifecycle": container.lifecycle != Lifecycle(),
        "livenessProbe": container.liveness_probe,
        "startupProbe": container.startup_probe,
    }
    for name, value in given.items():
        collected.when(value, container.at.of(name).error("an init container cannot have it, unless it is a sidecar"))
    collected.check()


def _check_spec(spec: PodSpec) -> None:
    collected = Collected()
    at, when = spec.at, collected.when
    when(not spec.containers, at.of("containers").error("a pod needs at least one container"))
    both = spec.host_pid and spec.share_process_namespace
    when(both, at.of("shareProcessNamespace").error("hostPID and shareProcessNamespace exclude each other"))
    if spec.os is not None:
        when(spec.os.name != "linux", spec.os.at.of("name").error("pods are Linux machines"))
    negative = spec.termination_grace_period_seconds < 0
    when(negative, at.of("terminationGracePeriodSeconds").error("it cannot be negative"))
    past = spec.active_deadline_seconds is not None and spec.active_deadline_seconds <= 0
    when(past, at.of("activeDeadlineSeconds").error("it has to be positive"))
    for name in ("hostname", "subdomain"):
        if text := getattr(spec, name):
            collected.of(matches, at.of(name), LABEL, text)
    if spec.hostname_override:
        collected.of(matches, at.of("hostnameOverride"), SUBDOMAIN, spec.hostname_override)
    collected.of(_check_security, spec)
    collected.of(check_resources, spec.resources)
    collected.check()


def _check_security(spec: PodSpec) -> None:
    security, collected = spec.security_context, Collected()
    for name in ("run_as_user", "run_as_group", "fs_group"):
        collected.of(check_id, security.at, name, getattr(security, name))
    for group in security.supplemental_groups:
        collected.of(check_id, security.at, "supplemental_groups", group)
    collected.of(unique, ((sysctl.at.of("name"), sysctl.name) for sysctl in security.sysctls), "sysctl")
    for sysctl in security.sysctls:
        collected.of(matches, sysctl.at.of("name"), SYSCTL, sysctl.name)
    collected.check()


def _check_names(spec: PodSpec) -> None:
    containers = (*spec.init_containers, *spec.containers)
    collected = Collected()
    collected.of(unique, ((container.at.of("name"), container.name) for container in containers), "container")
    collected.of(unique, ((volume.at.of("name"), volume.name) for volume in spec.volumes), "volume")
    for at, name in [(each.at, each.name) for each in containers] + [(each.at, each.name) for each in spec.volumes]:
        collected.of(matches, at.of("name"), LABEL, name)
    ports = (
        (port.at.of("hostPort"), f"{port.host_ip}:{port.host_port}/{port.protocol.value}")
        for container in containers
        for port in container.ports
        if port.host_port
    )
    collected.of(unique, ports, "hostPort")
    collected.check()

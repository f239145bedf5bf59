"""The plan of a pod in the words of the CRI: a pure function of its manifest and of the host's settings.

What is known only when the sandbox runs, the pod's addresses and where its volumes are, comes in later, through
`PodPlan.container`; that too is pure. All that can be wrong with a manifest is found by `plan_pod`, before
anything starts.
"""

from dataclasses import dataclass, replace

from vmsandbox.errors import Collected
from vmsandbox.model import (
    ContainerConfig,
    ContainerMetadata,
    Device,
    Mount,
    PodSandboxConfig,
    PodSandboxMetadata,
    PortMapping,
    Resources,
)
from vmsandbox.pod.api import ConfigMap, Container, HostPath, Manifest, PodSpec, RestartPolicy, Secret, VolumeDevice
from vmsandbox.pod.plan import dns
from vmsandbox.pod.plan.container_security import container_security, namespaces
from vmsandbox.pod.plan.image_plan import ImagePlan, plan_images
from vmsandbox.pod.plan.pod_checks import check_object, check_pod
from vmsandbox.pod.plan.pod_facts import PlanSettings, PodFacts
from vmsandbox.pod.plan.pod_resources import pod_resources
from vmsandbox.pod.plan.rule_places import check_planned_container, check_planned_pod
from vmsandbox.pod.plan.variables import environment, expand
from vmsandbox.pod.plan.volume_plan import VolumePlan, check_sub_path, mount_of, plan_volumes
from vmsandbox.quantity import ZERO


@dataclass(frozen=True, slots=True)
class PodPlan:
    """All that is decided before a pod starts."""

    facts: PodFacts
    sandbox: PodSandboxConfig
    images: tuple[ImagePlan, ...]
    volumes: dict[str, VolumePlan]

    @property
    def spec(self) -> PodSpec:
        """The pod's."""
        return self.facts.pod.spec

    @property
    def name(self) -> str:
        """The pod, for people: NAMESPACE/NAME."""
        return f"{self.sandbox.metadata.namespace}/{self.sandbox.metadata.name}"

    def restart_policy(self, container: Container) -> RestartPolicy:
        """When a container is started again; an init container that has succeeded never is, except a sidecar."""
        policy = self.spec.restart_policy
        if container not in self.spec.init_containers:
            return policy
        if container.sidecar:
            return RestartPolicy.ALWAYS
        return RestartPolicy.NEVER if policy is RestartPolicy.NEVER else RestartPolicy.ON_FAILURE

    def container(
        self, container: Container, facts: PodFacts, mounts: tuple[Mount, ...] = (), attempt: int = 0
    ) -> ContainerConfig:
        """CRI ContainerConfig of one attempt at running a container.

        Args:
            container: of this plan's pod.
            facts: the pod, with its addresses.
            mounts: its volumes, in the order of its volumeMounts, and what else is mounted in it.
            attempt: how often it has been started before.
        """
        envs = environment(facts, container)
        return ContainerConfig(
            metadata=ContainerMetadata(container.name, attempt),
            image=container.image,
            command=tuple(expand(text, envs) for text in container.command),
            args=tuple(expand(text, envs) for text in container.args),
            working_dir=container.working_dir,
            envs=envs,
            mounts=mounts,
            devices=tuple(self._device(device) for device in container.volume_devices),
            labels=_kubernetes_labels(facts) | {"io.kubernetes.container.name": container.name},
            annotations={
                "io.kubernetes.container.restartCount": str(attempt),
                "io.kubernetes.pod.terminationGracePeriod": str(self.spec.termination_grace_period_seconds),
            },
            log_path=f"{container.name}/{attempt}.log" if self.sandbox.log_directory else "",
            stdin=container.stdin,
            stdin_once=container.stdin_once,
            tty=container.tty,
            resources=facts.resources.container(container),
            security=container_security(self.spec, container, facts.settings.seccomp_directory),
            stop_signal=container.lifecycle.stop_signal,
        )

    def _device(self, device: VolumeDevice) -> Device:
        volume = self.volumes[device.name]
        assert isinstance(volume, HostPath)
        return Device(device.device_path, volume.path)


def plan_pod(manifest: Manifest, settings: PlanSettings) -> PodPlan:
    """The plan of a pod.

    Raises:
        InvalidArgument: the manifest is not valid, with all mistakes, each with its file, line and field.
    """
    collected = Collected()
    collected.of(check_pod, manifest.pod)
    objects: list[ConfigMap | Secret] = [*manifest.config_maps.values(), *manifest.secrets.values()]
    for found in objects:
        collected.of(check_object, found)
    spec = manifest.pod.spec
    facts = PodFacts(manifest, settings, pod_resources(spec, settings.vcpus, settings.memory))
    sandbox, images = collected.of(_sandbox, facts), collected.of(plan_images, manifest)
    volumes = collected.of(plan_volumes, facts)
    for container in (*spec.init_containers, *spec.containers):
        collected.of(environment, facts, container)
    collected.check()
    assert sandbox is not None and images is not None and volumes is not None
    plan = PodPlan(facts, sandbox, images, volumes)
    for container in (*spec.init_containers, *spec.containers):
        collected.of(_check_planned, plan, container)
    if not collected.found:  # As what a container says too much is too much for the pod, too.
        collected.of(check_planned_pod, plan.sandbox, manifest.pod)
    collected.check()
    return plan


def _check_planned(plan: PodPlan, container: Container) -> None:
    """Hold a container to what all of its pod together, and the rules of machines, allow."""
    collected = Collected()
    mounts = [mount_of(mount, plan.volumes[mount.name]) for mount in container.volume_mounts]
    sources = tuple(replace(mount, host_path="/") for mount in mounts)  # Any, until the pod runs.
    config = plan.container(container, plan.facts, sources)
    collected.of(check_planned_container, config, plan.sandbox, container, plan.spec)
    for mount in container.volume_mounts:
        collected.of(check_sub_path, mount, plan.volumes[mount.name], config.envs)
    collected.check()


def _sandbox(facts: PodFacts) -> PodSandboxConfig:
    metadata, spec = facts.pod.metadata, facts.pod.spec
    return PodSandboxConfig(
        metadata=PodSandboxMetadata(metadata.name, facts.uid, metadata.namespace),
        hostname=dns.hostname(facts),
        log_directory=facts.settings.log_directory,
        dns=dns.resolver(spec, facts.settings.dns),
        port_mappings=_port_mappings(spec),
        labels=metadata.labels | _kubernetes_labels(facts),
        annotations=metadata.annotations,
        sysctls={sysctl.name: sysctl.value for sysctl in spec.security_context.sysctls},
        namespaces=namespaces(spec),
        privileged=any(c.security_context.privileged for c in (*spec.init_containers, *spec.containers)),
        resources=facts.resources.sandbox(spec),
        overhead=_overhead(spec),
        runtime_handler=_handler(facts),
    )


def _handler(facts: PodFacts) -> str:
    spec, handlers = facts.pod.spec, facts.settings.handlers
    if spec.runtime_class_name not in handlers:
        known = ", ".join(sorted(filter(None, handlers))) or "none"
        raise spec.at.of("runtimeClassName").error(f"there is no handler of machines of this name; there are: {known}")
    return spec.runtime_class_name


def _port_mappings(spec: PodSpec) -> tuple[PortMapping, ...]:
    return tuple(
        PortMapping(port.container_port, port.host_port, port.protocol.value.lower(), port.host_ip)
        for container in (*spec.init_containers, *spec.containers)
        for port in container.ports
        if port.host_port
    )


def _overhead(spec: PodSpec) -> Resources:
    memory = spec.overhead.get("memory", ZERO).whole
    cpu = spec.overhead.get("cpu", ZERO).milli
    return Resources(cpu_period=100_000 if cpu else 0, cpu_quota=cpu * 100, memory_limit=memory)


def _kubernetes_labels(facts: PodFacts) -> dict[str, str]:
    metadata = facts.pod.metadata
    return {
        "io.kubernetes.pod.name": metadata.name,
        "io.kubernetes.pod.namespace": metadata.namespace,
        "io.kubernetes.pod.uid": facts.uid,
    }

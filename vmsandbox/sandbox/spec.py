"""The OCI runtime-spec of a container, from a pure function (golden files in tests/unit/golden).

The container shares the guest's network, IPC and UTS namespaces, which are the pod's, and gets a PID, mount and
cgroup namespace of its own. Paths in it are those of the guest (`protocol.paths`). What only the guest can know,
root.path and the numbers behind user names, the agent fills in.
"""

import signal
from collections.abc import Sequence
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import ContainerConfig, ImageConfig, NamespaceMode, Resources
from vmsandbox.protocol import messages
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox import capabilities, spec_mounts

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class SpecInputs:
    """All that a runtime-spec is made from."""

    container_id: str
    config: ContainerConfig
    image: ImageConfig
    hostname: str
    volume_sources: Sequence[str]
    """The path in the guest of each of `config.mounts`, in their order."""


def build_spec(inputs: SpecInputs) -> JSON:
    """config.json, as OCI runtime-spec 1.0.2 has it.

    Raises:
        InvalidArgument: neither the image nor the configuration names a command; a capability is unknown.
        Unimplemented: a field that this version cannot honour.
    """
    security = inputs.config.security
    return {
        "ociVersion": "1.0.2",
        "process": build_process(inputs, command_line(inputs.config, inputs.image)),
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        "mounts": spec_mounts.build_mounts(inputs.config, inputs.volume_sources),
        "linux": {
            "cgroupsPath": f"/vmsandbox/{inputs.container_id}",
            "namespaces": _namespaces(inputs.config),
            "resources": {**build_resources(inputs.config.resources), "devices": _device_rules(inputs.config)},
            "maskedPaths": [] if security.privileged else list(security.masked_paths),
            "readonlyPaths": [] if security.privileged else list(security.readonly_paths),
        },
    }


def build_process(inputs: SpecInputs, args: Sequence[str], *, tty: bool | None = None) -> JSON:
    """The `process` object: of the container itself, or of a command run in it later (`tty` is then its own)."""
    config = inputs.config
    process: dict[str, JSON] = {
        "terminal": config.tty if tty is None else tty,
        "user": {"uid": 0, "gid": 0},
        "args": list(args),
        "env": _environment(inputs),
        "cwd": config.working_dir or inputs.image.working_dir or "/",
        "capabilities": capabilities.build(config.security),
        "noNewPrivileges": config.security.no_new_privs and not config.security.privileged,
    }
    if config.resources.oom_score_adj:
        process["oomScoreAdj"] = config.resources.oom_score_adj
    return process


def command_line(config: ContainerConfig, image: ImageConfig) -> tuple[str, ...]:
    """Kubernetes' rule: a command replaces entrypoint and cmd of the image, args alone replace its cmd."""
    if config.command:
        return (*config.command, *config.args)
    line = (*image.entrypoint, *(config.args or image.cmd))
    if not line:
        raise InvalidArgument(
            f"container {config.metadata.name}: neither it nor its image {config.image} names a command",
            hint="set `command` in the container",
        )
    return line


def build_user(config: ContainerConfig, image: ImageConfig) -> messages.User:
    """Who the container runs as; the agent resolves names in the container's own /etc/passwd."""
    security = config.security
    chosen = security.run_as_username if security.run_as_user is None else str(security.run_as_user)
    if security.run_as_group is not None and not chosen and not image.user:
        raise InvalidArgument(f"container {config.metadata.name}: a group is set without a user")
    return messages.User(
        user=chosen or image.user,
        group="" if security.run_as_group is None else str(security.run_as_group),
        supplemental_groups=security.supplemental_groups,
        merge_image_groups=security.supplemental_groups_policy.value == "merge",
    )


def stop_signal(config: ContainerConfig, image: ImageConfig) -> int:
    """The number of the signal that asks the container to end: its own, its image's, or SIGTERM.

    Raises:
        InvalidArgument: there is no such signal.
    """
    name = config.stop_signal or image.stop_signal or "SIGTERM"
    if name.isdecimal() and 0 < int(name) < signal.NSIG:
        return int(name)
    full = name if name.startswith("SIG") else f"SIG{name}"
    try:
        return signal.Signals[full].value
    except KeyError:
        raise InvalidArgument(f"container {config.metadata.name}: there is no signal {name!r}") from None


def build_resources(resources: Resources) -> dict[str, JSON]:
    """OCI `linux.resources`; swap equals the limit where it is not set, as the guest has none to give."""
    memory = {"limit": resources.memory_limit, "swap": resources.memory_swap_limit or resources.memory_limit}
    cpu = {
        "shares": resources.cpu_shares,
        "quota": resources.cpu_quota,
        "period": resources.cpu_period,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    built = {
        "memory": {key: value for key, value in memory.items() if value},
        "cpu": {key: value for key, value in cpu.items() if value},
        "unified": dict(resources.unified),
    }
    return {key: value for key, value in built.items() if value}


def _environment(inputs: SpecInputs) -> list[str]:
    values = {"PATH": PATH, "HOSTNAME": inputs.hostname}
    if inputs.config.tty:
        values["TERM"] = "xterm"
    pairs = (entry.partition("=") for entry in inputs.image.env)
    values.update({key: value for key, equals, value in pairs if equals})
    values.update(inputs.config.envs)
    return [f"{key}={value}" for key, value in values.items()]


def _namespaces(config: ContainerConfig) -> list[JSON]:
    mode = config.security.namespaces.pid
    if mode in (NamespaceMode.POD, NamespaceMode.TARGET):
        raise Unimplemented(f"container {config.metadata.name}: a PID namespace shared with other containers")
    kinds = ["mount", "cgroup"] if mode is NamespaceMode.NODE else ["pid", "mount", "cgroup"]
    return [{"type": kind} for kind in kinds]


def _device_rules(config: ContainerConfig) -> list[JSON]:
    """All devices for a privileged container; else crun allows the ones that the runtime-spec lists as default."""
    if config.devices:
        raise Unimplemented(f"container {config.metadata.name}: devices of the guest")
    return [{"allow": config.security.privileged, "access": "rwm"}]

"""The OCI runtime-spec of a container, from a pure function (golden files in tests/unit/golden).

The container shares the guest's network and UTS namespaces, which are the pod's. Paths in it are those of the guest
(`protocol.paths`). What only the guest can know, root.path, the numbers behind user names, devices, and the namespaces
that containers share, the agent fills in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerConfig, ImageConfig, NamespaceMode
from vmsandbox.protocol import messages, paths
from vmsandbox.protocol.codec import JSON
from vmsandbox.sandbox.spec.capabilities import build_capabilities
from vmsandbox.sandbox.spec.container_mounts import MountSource, build_mounts, root_propagation
from vmsandbox.sandbox.spec.given_spec import complete_given_spec
from vmsandbox.sandbox.spec.resources import build_resources

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_LIMIT = 1024 * 1024
"""Open files and processes: the machine's own limits are the pod's, and these are not to be met before them."""


@dataclass(frozen=True, slots=True)
class SpecInputs:
    """All that a runtime-spec is made from."""

    container_id: str
    config: ContainerConfig
    image: ImageConfig
    hostname: str
    volumes: Sequence[MountSource] = ()
    """The source of each of `config.mounts`, in their order."""
    seccomp: JSON = None
    """`linux.seccomp` (see `seccomp.build_seccomp`)."""
    mapped_users: bool = False
    """Whether the pod has a user namespace."""


def build_spec(inputs: SpecInputs) -> JSON:
    """config.json, as OCI runtime-spec 1.0.2 has it; the caller's, where that has made one.

    Raises:
        InvalidArgument: neither the image nor the configuration names a command; a capability is unknown; the image
            declares too many volumes.
    """
    if isinstance(given := inputs.config.spec, dict):
        return complete_given_spec(given, inputs.container_id, inputs.volumes)
    security = inputs.config.security
    linux: dict[str, JSON] = {
        "cgroupsPath": f"{paths.POD_CGROUP}/{inputs.container_id}",
        "namespaces": _namespaces(inputs.config),
        "resources": {
            **build_resources(inputs.config.resources),
            "devices": [{"allow": security.privileged, "access": "rwm"}],
        },
        "maskedPaths": [] if security.privileged else list(security.masked_paths),
        "readonlyPaths": [] if security.privileged else list(security.readonly_paths),
    }
    if propagation := root_propagation(inputs.config):
        linux["rootfsPropagation"] = propagation
    if inputs.seccomp is not None:
        linux["seccomp"] = inputs.seccomp
    return {
        "ociVersion": "1.0.2",
        "process": build_process(inputs, command_line(inputs.config, inputs.image)),
        "root": {"path": "rootfs", "readonly": security.readonly_rootfs},
        "mounts": build_mounts(
            inputs.container_id, inputs.config, inputs.image, inputs.volumes, mapped_users=inputs.mapped_users
        ),
        "linux": linux,
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
        "capabilities": build_capabilities(config.security),
        "noNewPrivileges": config.security.no_new_privs and not config.security.privileged,
        "rlimits": [{"type": name, "soft": _LIMIT, "hard": _LIMIT} for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC")],
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
            f"container {config.metadata.name}: neither the container nor its image {config.image} names a command",
            hint="set `command` in the container",
        )
    return line


def build_user(config: ContainerConfig, image: ImageConfig) -> messages.User:
    """Build the user of the container; the agent looks names up in the container's own /etc/passwd."""
    security = config.security
    chosen = security.run_as_username if security.run_as_user is None else str(security.run_as_user)
    return messages.User(
        user=chosen or image.user,
        group="" if security.run_as_group is None else str(security.run_as_group),
        supplemental_groups=security.supplemental_groups,
        merge_image_groups=security.supplemental_groups_policy.value == "merge",
    )


def _environment(inputs: SpecInputs) -> list[str]:
    values = {"PATH": PATH, "HOSTNAME": inputs.hostname}
    if inputs.config.tty:
        values["TERM"] = "xterm"
    pairs = (entry.partition("=") for entry in inputs.image.env)
    values.update({key: value for key, equals, value in pairs if equals})
    values.update(inputs.config.envs)
    return [f"{key}={value}" for key, value in values.items()]


def _namespaces(config: ContainerConfig) -> list[JSON]:
    """New ones; the agent puts those that it joins in their place. NODE is the guest's, which it has without asking."""
    wanted = config.security.namespaces
    kinds = ["mount", "cgroup"]
    if wanted.pid is not NamespaceMode.NODE:
        kinds.insert(0, "pid")
    if wanted.ipc is NamespaceMode.CONTAINER:
        kinds.append("ipc")
    return [{"type": kind} for kind in kinds]

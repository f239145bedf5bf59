"""The two lists of fields of the CRI's configuration that are not converted, with the reasons.

A test walks the bindings' descriptors and fails for a field that is neither converted nor named here. Fields of a CRI
newer than the bindings are unknown to protobuf, which drops them as its compatibility rules say.
"""

from google.protobuf.message import Message

from vmsandbox.errors import Unimplemented

_NO_SANDBOX_PROCESS = "a sandbox is a machine: it has no process of its own that this could apply to"
_NO_SELINUX = "the guest's kernel has no SELinux; a label is ignored, as on a host without SELinux"

IGNORED: dict[str, str] = {
    "LinuxSandboxSecurityContext.selinux_options": _NO_SELINUX,
    "LinuxSandboxSecurityContext.run_as_user": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.run_as_group": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.readonly_rootfs": "the machine's root file system is always read-only",
    "LinuxSandboxSecurityContext.supplemental_groups": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.supplemental_groups_policy": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.seccomp": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.apparmor": _NO_SANDBOX_PROCESS,
    "LinuxSandboxSecurityContext.seccomp_profile_path": _NO_SANDBOX_PROCESS,
    "LinuxContainerSecurityContext.selinux_options": _NO_SELINUX,
    "Mount.selinux_relabel": "virtiofsd opens the files on the host, not a process with the container's label",
    "ImageSpec.annotations": "they help to choose among platforms, and the guest's platform is the host's",
    "ImageSpec.runtime_handler": "all handlers share one image store; PullImage refuses an unknown one",
}
"""The reasons why a field changes nothing, by message and field."""

REFUSED: dict[str, str] = {
    "PodSandboxConfig.windows": "a sandbox runs Linux",
    "ContainerConfig.windows": "a sandbox runs Linux",
}
"""The reasons why setting a field is an error. (`sandbox` refuses fields of Linux that no machine can provide.)"""


def refuse(message: Message) -> None:
    """Raise Unimplemented, naming the field, where a configuration asks for what cannot be given."""
    for descriptor, value in message.ListFields():
        name = f"{message.DESCRIPTOR.name}.{descriptor.name}"
        if name in REFUSED:
            raise Unimplemented(f"{name}: {REFUSED[name]}", hint="run the pod under another RuntimeClass")
        if descriptor.message_type is None or descriptor.message_type.GetOptions().map_entry:
            continue
        for part in value if descriptor.is_repeated else [value]:
            refuse(part)

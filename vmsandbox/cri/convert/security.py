"""LinuxContainerSecurityContext."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums
from vmsandbox.cri.convert.namespaces import namespaces_from_cri, namespaces_to_cri
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import ContainerSecurity, SecurityProfile


def security_from_cri(wire: api.LinuxContainerSecurityContext) -> ContainerSecurity:
    """Convert the rights and the user of a container. Raises InvalidArgument for a value that is not known."""
    return ContainerSecurity(
        privileged=wire.privileged,
        add_capabilities=tuple(wire.capabilities.add_capabilities),
        drop_capabilities=tuple(wire.capabilities.drop_capabilities),
        add_ambient_capabilities=tuple(wire.capabilities.add_ambient_capabilities),
        namespaces=namespaces_from_cri(wire.namespace_options),
        run_as_user=wire.run_as_user.value if wire.HasField("run_as_user") else None,
        run_as_username=wire.run_as_username,
        run_as_group=wire.run_as_group.value if wire.HasField("run_as_group") else None,
        supplemental_groups=tuple(wire.supplemental_groups),
        supplemental_groups_policy=enums.from_cri(
            enums.GROUPS_POLICY, wire.supplemental_groups_policy, "supplemental_groups_policy"
        ),
        readonly_rootfs=wire.readonly_rootfs,
        no_new_privs=wire.no_new_privs,
        masked_paths=tuple(wire.masked_paths),
        readonly_paths=tuple(wire.readonly_paths),
        seccomp=_profile(wire.seccomp if wire.HasField("seccomp") else None, wire.seccomp_profile_path),
        apparmor=_profile(wire.apparmor if wire.HasField("apparmor") else None, wire.apparmor_profile),
    )


def security_to_cri(model: ContainerSecurity) -> api.LinuxContainerSecurityContext:
    """The inverse of `security_from_cri`."""
    wire = api.LinuxContainerSecurityContext(
        privileged=model.privileged,
        capabilities=api.Capability(
            add_capabilities=model.add_capabilities,
            drop_capabilities=model.drop_capabilities,
            add_ambient_capabilities=model.add_ambient_capabilities,
        ),
        namespace_options=namespaces_to_cri(model.namespaces),
        run_as_username=model.run_as_username,
        supplemental_groups=model.supplemental_groups,
        supplemental_groups_policy=enums.to_cri(enums.GROUPS_POLICY, model.supplemental_groups_policy),
        readonly_rootfs=model.readonly_rootfs,
        no_new_privs=model.no_new_privs,
        masked_paths=model.masked_paths,
        readonly_paths=model.readonly_paths,
        seccomp=_profile_to_cri(model.seccomp),
        apparmor=_profile_to_cri(model.apparmor),
    )
    if model.run_as_user is not None:
        wire.run_as_user.value = model.run_as_user
    if model.run_as_group is not None:
        wire.run_as_group.value = model.run_as_group
    return wire


def _profile(wire: api.SecurityProfile | None, deprecated: str) -> SecurityProfile:
    """The profile, or the one that the deprecated text names; unconfined where neither is there."""
    if wire is None:
        return _profile_of_text(deprecated)
    kind = enums.from_cri(enums.PROFILE_KIND, wire.profile_type, "SecurityProfile.profile_type")
    return SecurityProfile(kind, wire.localhost_ref)


def _profile_of_text(text: str) -> SecurityProfile:
    if text in ("", "unconfined"):
        return SecurityProfile()
    if text == "runtime/default":
        return SecurityProfile("runtime_default")
    prefix, _, path = text.partition("/")
    if prefix != "localhost" or not path:
        raise InvalidArgument(f"{text!r} is not a security profile: runtime/default, unconfined or localhost/NAME")
    return SecurityProfile("localhost", path)


def _profile_to_cri(model: SecurityProfile) -> api.SecurityProfile:
    return api.SecurityProfile(profile_type=enums.to_cri(enums.PROFILE_KIND, model.kind), localhost_ref=model.path)

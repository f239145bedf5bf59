"""PodSandboxConfig."""

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums, fields
from vmsandbox.cri.convert.namespaces import namespaces_from_cri, namespaces_to_cri
from vmsandbox.cri.convert.resources import resources_from_cri, resources_to_cri
from vmsandbox.errors import InvalidArgument
from vmsandbox.model import PodSandboxConfig, PodSandboxMetadata, PortMapping, Resources
from vmsandbox.protocol.messages import Dns


def sandbox_config_from_cri(wire: api.PodSandboxConfig, runtime_handler: str = "") -> PodSandboxConfig:
    """A sandbox as RunPodSandbox asks for it.

    Raises:
        InvalidArgument: it has a value that this version does not know; or a group without a user.
        Unimplemented: it asks for what a machine cannot give (`fields`).
    """
    fields.refuse(wire)
    linux, security = wire.linux, wire.linux.security_context
    # The model has no user of the sandbox; the CRI asks for this error all the same (run_as_group).
    if security.HasField("run_as_group") and not security.HasField("run_as_user"):
        raise InvalidArgument("the sandbox's security context has run_as_group without run_as_user")
    return PodSandboxConfig(
        metadata=sandbox_metadata_from_cri(wire.metadata),
        hostname=wire.hostname,
        log_directory=wire.log_directory,
        dns=_dns(wire.dns_config) if wire.HasField("dns_config") else None,
        port_mappings=tuple(map(_port_mapping, wire.port_mappings)),
        labels=dict(wire.labels),
        annotations=dict(wire.annotations),
        cgroup_parent=linux.cgroup_parent,
        sysctls=dict(linux.sysctls),
        namespaces=namespaces_from_cri(security.namespace_options),
        privileged=security.privileged,
        resources=resources_from_cri(linux.resources),
        overhead=resources_from_cri(linux.overhead),
        runtime_handler=runtime_handler,
    )


def sandbox_config_to_cri(model: PodSandboxConfig) -> api.PodSandboxConfig:
    """The inverse of `sandbox_config_from_cri`; the handler travels beside it."""
    wire = api.PodSandboxConfig(
        metadata=sandbox_metadata_to_cri(model.metadata),
        hostname=model.hostname,
        log_directory=model.log_directory,
        port_mappings=map(_port_mapping_to_cri, model.port_mappings),
        labels=model.labels,
        annotations=model.annotations,
        linux=api.LinuxPodSandboxConfig(
            cgroup_parent=model.cgroup_parent,
            sysctls=model.sysctls,
            security_context=api.LinuxSandboxSecurityContext(
                namespace_options=namespaces_to_cri(model.namespaces), privileged=model.privileged
            ),
        ),
    )
    if model.dns is not None:
        wire.dns_config.CopyFrom(
            api.DNSConfig(servers=model.dns.servers, searches=model.dns.searches, options=model.dns.options)
        )
    if model.resources != Resources():
        wire.linux.resources.CopyFrom(resources_to_cri(model.resources))
    if model.overhead != Resources():
        wire.linux.overhead.CopyFrom(resources_to_cri(model.overhead))
    return wire


def sandbox_metadata_from_cri(wire: api.PodSandboxMetadata) -> PodSandboxMetadata:
    """Convert the names of a sandbox."""
    return PodSandboxMetadata(wire.name, wire.uid, wire.namespace, wire.attempt)


def sandbox_metadata_to_cri(model: PodSandboxMetadata) -> api.PodSandboxMetadata:
    """The inverse of `sandbox_metadata_from_cri`."""
    return api.PodSandboxMetadata(name=model.name, uid=model.uid, namespace=model.namespace, attempt=model.attempt)


def _dns(wire: api.DNSConfig) -> Dns:
    return Dns(tuple(wire.servers), tuple(wire.searches), tuple(wire.options))


def _port_mapping(wire: api.PortMapping) -> PortMapping:
    protocol = enums.from_cri(enums.PROTOCOL, wire.protocol, "PortMapping.protocol")
    return PortMapping(wire.container_port, wire.host_port, protocol, wire.host_ip)


def _port_mapping_to_cri(model: PortMapping) -> api.PortMapping:
    return api.PortMapping(
        protocol=enums.to_cri(enums.PROTOCOL, model.protocol),
        container_port=model.container_port,
        host_port=model.host_port,
        host_ip=model.host_ip,
    )

"""Questions to libvirt about domains: functions that block, for `Connection.call`; they may raise its errors."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any, cast

from vmsandbox.errors import AlreadyExists, FailedPrecondition, NotFound, ResourceExhausted
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.faults import code_of
from vmsandbox.hypervisor.machine_events import MachineState
from vmsandbox.hypervisor.specification import Disk
from vmsandbox.hypervisor.xml import (
    METADATA,
    Capabilities,
    PluggedDisk,
    disk_name,
    disk_xml,
    free_target,
    plugged_disks,
)

_GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
"""The errors of calls on a domain that ends at this moment: it is unknown, or not running."""

_LIBVIRT_PREFIX = re.compile(r"^(internal error: )?(.* monitor: )?")
_QEMU_PREFIX = re.compile(r"^(\S+Z )?(qemu-system-\S+: )?(error: )?")
"""Time, program and severity, before what QEMU has to say."""

_STATES = {
    libvirt.VIR_DOMAIN_SHUTOFF: MachineState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: MachineState.CRASHED,
}


def capabilities(connection: "libvirt.virConnect") -> Capabilities:
    """Return what domains depend on."""
    return Capabilities.of(
        connection.getCapabilities(), connection.getDomainCapabilities(None, "x86_64", "q35", "qemu")
    )


def create(connection: "libvirt.virConnect", name: str, xml: str, *, paused: bool) -> None:
    """Start a transient domain; libvirt undoes what it had begun when it fails.

    Args:
        connection: to libvirt.
        name: of the domain.
        xml: of the domain.
        paused: QEMU and its helpers start, and the guest does not run before `resume`.

    Raises:
        AlreadyExists: one of that name runs.
        ResourceExhausted: there is no memory for it.
        FailedPrecondition: QEMU ended at once; what it said is the evidence.
    """
    try:
        connection.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED if paused else 0)
    except libvirt.libvirtError as error:
        if find(connection, name) is not None:
            raise AlreadyExists(f"machine {name} exists") from None
        raise _of_qemu(error, f"QEMU did not start machine {name}") from None


def resume(connection: "libvirt.virConnect", name: str) -> None:
    """Let the guest of a paused domain run. Succeeds where it does. Raises NotFound where there is none any more."""
    domain = find(connection, name)
    if domain is None:
        raise NotFound(f"machine {name} has ended before its guest ran")
    domain.resume()


def destroy(connection: "libvirt.virConnect", name: str, uuid: str = "") -> None:
    """End a domain, when it has that UUID. Succeeds where there is none."""
    domain = find(connection, name)
    if domain is not None and uuid in ("", domain.UUIDString()):
        with _unless_gone():
            domain.destroy()


def state(connection: "libvirt.virConnect", name: str) -> MachineState:
    """Return the state of a domain. A paused domain still has its guest and counts as running."""
    domain = find(connection, name)
    if domain is not None:
        with _unless_gone():
            return _STATES.get(domain.state()[0], MachineState.RUNNING)
    return MachineState.GONE


def names(connection: "libvirt.virConnect") -> tuple[str, ...]:
    """The running domains that carry our mark."""
    running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return tuple(sorted(domain.name() for domain in running if _is_ours(domain)))


def attach(connection: "libvirt.virConnect", name: str, disk: Disk) -> None:
    """Plug a disk in, unless one of its serial is.

    Raises:
        NotFound: there is no such machine.
        FailedPrecondition: QEMU cannot have the disk, e.g. because its user may not read the file.
    """
    plugged = disks(connection, name)
    if plugged is None:
        raise NotFound(f"there is no machine {name}")
    if disk.serial not in {known.serial for known in plugged}:
        xml = disk_xml(disk, free_target(plugged))
        try:
            connection.lookupByName(name).attachDeviceFlags(xml, libvirt.VIR_DOMAIN_AFFECT_LIVE)
        except libvirt.libvirtError as error:
            raise _of_qemu(error, f"QEMU does not accept disk {disk.serial} in machine {name}") from None


def ask_to_detach(connection: "libvirt.virConnect", name: str, alias: str) -> None:
    """Have the guest let a disk go; libvirt's event tells when it has. Succeeds where the machine has ended."""
    with _unless_gone():
        connection.lookupByName(name).detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def resize(connection: "libvirt.virConnect", name: str, serial: str, size: int) -> None:
    """Have the guest know the size of a disk, in bytes. Raises NotFound where there is no such machine or disk."""
    plugged = {disk.serial: disk for disk in disks(connection, name) or ()}
    if serial not in plugged:
        raise NotFound(f"there is no disk {serial} in a machine {name}")
    target, in_bytes = disk_name(plugged[serial].target), libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
    connection.lookupByName(name).blockResize(target, size, in_bytes)


def disks(connection: "libvirt.virConnect", name: str) -> tuple[PluggedDisk, ...] | None:
    """The disks of a machine; None where there is no such machine."""
    domain = find(connection, name)
    if domain is not None:
        with _unless_gone():
            return plugged_disks(domain.XMLDesc())
    return None


def version(connection: "libvirt.virConnect") -> str:
    """The versions of libvirt and of the QEMU that it starts."""
    return f"libvirt {_dotted(connection.getLibVersion())}, QEMU {_dotted(qemu_version(connection))}"


def qemu_version(connection: "libvirt.virConnect") -> int:
    """The version of the QEMU that libvirt starts: major * 1,000,000 + minor * 1,000 + release."""
    return int(connection.getVersion())


def find(connection: "libvirt.virConnect", name: str) -> "libvirt.virDomain | None":
    """A domain by its name."""
    with _unless_gone():
        return connection.lookupByName(name)
    return None


def _is_ours(domain: "libvirt.virDomain") -> bool:
    try:
        domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, METADATA)
    except libvirt.libvirtError as error:
        if code_of(error) in (libvirt.VIR_ERR_NO_DOMAIN_METADATA, *_GONE):
            return False
        raise
    return True


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    """Go on after the body when its domain is no more."""
    try:
        yield
    except libvirt.libvirtError as error:
        if code_of(error) not in _GONE:
            raise


def _of_qemu(error: Any, failure: str) -> Exception:
    """Return the first line of QEMU's message, which is the cause; for an error of libvirt, the error itself."""
    if code_of(error) != libvirt.VIR_ERR_INTERNAL_ERROR or error.get_error_domain() != libvirt.VIR_FROM_QEMU:
        return cast(Exception, error)
    said = _LIBVIRT_PREFIX.sub("", error.get_error_message())
    cause = _QEMU_PREFIX.sub("", said.partition("\n")[0])
    kind = ResourceExhausted if "Cannot allocate memory" in said else FailedPrecondition
    return kind(f"{failure}: {cause}", evidence={"QEMU": said})


def _dotted(version: int) -> str:
    """Libvirt's numbers are major * 1,000,000 + minor * 1,000 + release."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"

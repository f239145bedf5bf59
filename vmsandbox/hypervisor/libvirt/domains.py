"""Questions to libvirt about domains: functions that block, for `Connection.call`; they may raise its errors."""

import contextlib
from collections.abc import Iterator

from vmsandbox.errors import AlreadyExists, NotFound
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.faults import code_of, said_by_qemu
from vmsandbox.hypervisor.machine_events import MachineState
from vmsandbox.hypervisor.xml import METADATA, Capabilities

_GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)
"""The errors of calls on a domain that ends at this moment: it is unknown, or not running."""

_STATES = {
    libvirt.VIR_DOMAIN_SHUTOFF: MachineState.STOPPED,
    libvirt.VIR_DOMAIN_CRASHED: MachineState.CRASHED,
}


def capabilities(connection: "libvirt.virConnect", known: Capabilities | None) -> Capabilities:
    """Return what domains depend on: as `known`, unless QEMU is another by now."""
    version = int(connection.getVersion())
    if known is not None and known.qemu_version == version:
        return known
    return Capabilities.of(connection.getCapabilities(), _domain_capabilities(connection), version)


def _domain_capabilities(connection: "libvirt.virConnect") -> str:
    """Return those of emulated domains, or of others where QEMU was built without emulation."""
    try:
        return str(connection.getDomainCapabilities(None, "x86_64", "q35", "qemu"))
    except libvirt.libvirtError:
        return str(connection.getDomainCapabilities(None, "x86_64", "q35", "kvm"))


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
        raise said_by_qemu(error, f"QEMU did not start machine {name}") from None


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
        with unless_gone():
            domain.destroy()


def state(connection: "libvirt.virConnect", name: str) -> MachineState:
    """Return the state of a domain. A paused domain still has its guest and counts as running."""
    domain = find(connection, name)
    if domain is not None:
        with unless_gone():
            return _STATES.get(domain.state()[0], MachineState.RUNNING)
    return MachineState.GONE


def names(connection: "libvirt.virConnect") -> tuple[str, ...]:
    """The running domains that carry our mark."""
    running = connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    return tuple(sorted(domain.name() for domain in running if _is_ours(domain)))


def version(connection: "libvirt.virConnect") -> str:
    """The versions of libvirt and of the QEMU that it starts."""
    return f"libvirt {_dotted(connection.getLibVersion())}, QEMU {_dotted(connection.getVersion())}"


def find(connection: "libvirt.virConnect", name: str) -> "libvirt.virDomain | None":
    """A domain by its name."""
    with unless_gone():
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
def unless_gone() -> Iterator[None]:
    """Go on after the body when its domain is no more."""
    try:
        yield
    except libvirt.libvirtError as error:
        if code_of(error) not in _GONE:
            raise


def _dotted(version: int) -> str:
    """Libvirt's numbers are major * 1,000,000 + minor * 1,000 + release."""
    return f"{version // 1_000_000}.{version // 1_000 % 1_000}.{version % 1_000}"

"""Libvirt's errors become ours by their codes."""

import errno

import pytest

from vmsandbox import errors
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.faults import said_by_qemu, translated


def libvirt_error(code: int, message: str = "it went wrong", domain: int = 0, number: int = 0) -> Exception:
    """An error as the bindings raise it."""
    error = libvirt.libvirtError("virCall() failed")
    error.err = (code, domain or libvirt.VIR_FROM_QEMU, message, 2, message, None, None, number, -1)
    assert isinstance(error, Exception)
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (libvirt.VIR_ERR_NO_DOMAIN, errors.NotFound),
        (libvirt.VIR_ERR_DOM_EXIST, errors.AlreadyExists),
        (libvirt.VIR_ERR_OPERATION_INVALID, errors.FailedPrecondition),
        (libvirt.VIR_ERR_CONFIG_UNSUPPORTED, errors.FailedPrecondition),
        (libvirt.VIR_ERR_OPERATION_TIMEOUT, errors.DeadlineExceeded),
        (libvirt.VIR_ERR_NO_MEMORY, errors.ResourceExhausted),
        (libvirt.VIR_ERR_ACCESS_DENIED, errors.PermissionDenied),
        (libvirt.VIR_ERR_NO_CONNECT, errors.Unavailable),
        (libvirt.VIR_ERR_XML_ERROR, errors.Internal),
        (libvirt.VIR_ERR_INTERNAL_ERROR, errors.Internal),
    ],
)
def test_a_code_has_its_class(code: int, kind: type[Exception]) -> None:
    error = translated(libvirt_error(code), "libvirt cannot do it")
    assert type(error) is kind
    assert str(error) == "libvirt cannot do it: it went wrong"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EADDRINUSE, errors.ResourceExhausted),
        (errno.ENOMEM, errors.ResourceExhausted),
        (errno.ENOENT, errors.FailedPrecondition),
        (errno.EACCES, errors.PermissionDenied),
        (errno.ECONNRESET, errors.Unavailable),
        (errno.EXDEV, errors.Internal),
    ],
)
def test_an_error_of_the_system_has_its_numbers_class(number: int, kind: type[Exception]) -> None:
    assert type(translated(libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, number=number), "it")) is kind


@pytest.mark.parametrize("code", [libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_SYSTEM_ERROR])
def test_whatever_goes_wrong_on_the_way_to_the_daemon_is_that_it_is_away(code: int) -> None:
    error = libvirt_error(code, domain=libvirt.VIR_FROM_RPC, number=errno.ENOENT)
    assert type(translated(error, "it")) is errors.Unavailable


def test_a_daemon_that_refuses_us_is_there() -> None:
    error = libvirt_error(libvirt.VIR_ERR_AUTH_FAILED, domain=libvirt.VIR_FROM_RPC)
    assert type(translated(error, "it")) is errors.PermissionDenied


def test_more_lines_are_evidence() -> None:
    error = translated(libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, "one\ntwo\nthree"), "it")
    assert (str(error), error.evidence) == ("it: one", {"libvirt": "two\nthree"})


def test_an_error_that_the_bindings_have_lost_is_told_all_the_same() -> None:
    libvirt.virResetLastError()
    error = libvirt.libvirtError("virDomainCreateXML() failed")
    error.err = None
    assert str(translated(error, "it")) == "it: virDomainCreateXML() failed"


@pytest.mark.parametrize(
    ("message", "cause", "kind"),
    [
        (
            "internal error: process exited while connecting to monitor: "
            "2026-11-24T15:02:18.711752Z qemu-system-x86_64: error: failed to set MSR 0x10a\nassertion failed",
            "failed to set MSR 0x10a",
            errors.FailedPrecondition,
        ),
        (
            "internal error: qemu unexpectedly closed the monitor: qemu-system-x86_64: "
            "cannot set up guest memory 'pc.ram': Cannot allocate memory",
            "cannot set up guest memory 'pc.ram': Cannot allocate memory",
            errors.ResourceExhausted,
        ),
        (
            "internal error: unable to execute QEMU command 'blockdev-add': Could not open '/x': Permission denied",
            "unable to execute QEMU command 'blockdev-add': Could not open '/x': Permission denied",
            errors.FailedPrecondition,
        ),
    ],
)
def test_what_qemu_says_is_cause_and_evidence(message: str, cause: str, kind: type[errors.VmsandboxError]) -> None:
    error = said_by_qemu(libvirt_error(libvirt.VIR_ERR_INTERNAL_ERROR, message), "QEMU did not start m")
    assert isinstance(error, kind)
    assert str(error) == f"QEMU did not start m: {cause}"
    assert cause in error.evidence["QEMU"]


def test_what_libvirt_says_is_not_qemus() -> None:
    error = libvirt_error(libvirt.VIR_ERR_NO_DOMAIN)
    assert said_by_qemu(error, "QEMU did not start m") is error

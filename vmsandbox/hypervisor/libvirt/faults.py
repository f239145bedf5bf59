"""Libvirt's errors in this project's words: the one place that reads their codes (libvirt/virterror.h)."""

import errno
import re
from typing import Any, cast

from vmsandbox.errors import (
    AlreadyExists,
    DeadlineExceeded,
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unavailable,
    VmsandboxError,
)
from vmsandbox.hypervisor.libvirt.bindings import libvirt

_BY_CODE: dict[int, type[VmsandboxError]] = {
    libvirt.VIR_ERR_NO_DOMAIN: NotFound,
    libvirt.VIR_ERR_DEVICE_MISSING: NotFound,
    libvirt.VIR_ERR_DOM_EXIST: AlreadyExists,
    libvirt.VIR_ERR_OPERATION_TIMEOUT: DeadlineExceeded,
    libvirt.VIR_ERR_OPERATION_INVALID: FailedPrecondition,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED: FailedPrecondition,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED: FailedPrecondition,
    libvirt.VIR_ERR_NO_SUPPORT: FailedPrecondition,
    libvirt.VIR_ERR_INVALID_ARG: FailedPrecondition,
    libvirt.VIR_ERR_NO_MEMORY: ResourceExhausted,
    libvirt.VIR_ERR_AUTH_FAILED: PermissionDenied,
    libvirt.VIR_ERR_AUTH_CANCELLED: PermissionDenied,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE: PermissionDenied,
    libvirt.VIR_ERR_ACCESS_DENIED: PermissionDenied,
    libvirt.VIR_ERR_RPC: Unavailable,
    libvirt.VIR_ERR_NO_CONNECT: Unavailable,
    libvirt.VIR_ERR_INVALID_CONN: Unavailable,
}
_BY_ERRNO: dict[int, type[VmsandboxError]] = {
    errno.ENOMEM: ResourceExhausted,
    errno.ENOSPC: ResourceExhausted,
    errno.EADDRINUSE: ResourceExhausted,
    errno.EBUSY: ResourceExhausted,
    errno.ECONNRESET: Unavailable,
    errno.EPIPE: Unavailable,
    errno.EACCES: PermissionDenied,
    errno.EPERM: PermissionDenied,
    errno.ENOENT: FailedPrecondition,
    errno.ENODEV: FailedPrecondition,
}

_LIBVIRT_PREFIX = re.compile(r"^(internal error: )?(.* monitor: )?")
_QEMU_PREFIX = re.compile(r"^(\S+Z )?(qemu-system-\S+: )?(error: )?")
"""Time, program and severity, before what QEMU has to say."""


def translated(error: libvirt.libvirtError, action: str) -> VmsandboxError:
    """The error of ours for one of libvirt's.

    Args:
        error: what libvirt raised.
        action: what was tried, e.g. "libvirt cannot end machine x".
    """
    message = (error.get_error_message() or str(error)).strip()
    first, *more = message.splitlines()
    evidence = {"libvirt": "\n".join(more)} if more else {}
    return _kind(error)(f"{action}: {first}", evidence=evidence)


def code_of(error: libvirt.libvirtError) -> int:
    """The error's VIR_ERR_ code; VIR_ERR_INTERNAL_ERROR where the bindings have lost it."""
    code = error.get_error_code()
    return libvirt.VIR_ERR_INTERNAL_ERROR if code is None else int(code)


def said_by_qemu(error: Any, failure: str) -> Exception:
    """Return the first line of QEMU's message, which is the cause; for an error of libvirt, the error itself."""
    if code_of(error) != libvirt.VIR_ERR_INTERNAL_ERROR or error.get_error_domain() != libvirt.VIR_FROM_QEMU:
        return cast(Exception, error)
    said = _LIBVIRT_PREFIX.sub("", error.get_error_message())
    cause = _QEMU_PREFIX.sub("", said.partition("\n")[0])
    kind = ResourceExhausted if "Cannot allocate memory" in said else FailedPrecondition
    return kind(f"{failure}: {cause}", evidence={"QEMU": said})


def _kind(error: libvirt.libvirtError) -> type[VmsandboxError]:
    code = code_of(error)
    if code not in (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_ACCESS_DENIED) and (
        error.get_error_domain() == libvirt.VIR_FROM_RPC
    ):
        return Unavailable  # whatever it says: the daemon at the other end is gone
    if code == libvirt.VIR_ERR_SYSTEM_ERROR:
        return _BY_ERRNO.get(error.get_int1() or 0, Internal)
    return _BY_CODE.get(code, Internal)

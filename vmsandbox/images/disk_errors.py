"""Translate errors of the image store's file system into our errors."""

import errno

from vmsandbox.errors import Internal, PermissionDenied, ResourceExhausted, VmsandboxError, hint_for_rights
from vmsandbox.fs.opening import reason

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The messages of a full disk."""
NO_SPACE_HINT = "free space where the image store is, e.g. with `vmsandbox image remove`"


def error_of_disk(error: OSError) -> VmsandboxError:
    """Return the error for what the store's file system answered."""
    if error.errno in FULL:
        return ResourceExhausted("the disk is full", hint=NO_SPACE_HINT)
    what = f"{error.filename}: " if error.filename else ""
    message = f"the image store cannot be used: {what}{reason(error)}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return PermissionDenied(message, hint=hint_for_rights(error.errno))
    return Internal(message)

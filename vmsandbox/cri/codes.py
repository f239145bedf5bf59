"""Errors and gRPC status codes: one table, read by the server and by the client."""

import contextlib
import re
from collections.abc import Iterator

import grpc
import grpc.aio

from vmsandbox import errors
from vmsandbox.errors import VmsandboxError

CODES: dict[type[VmsandboxError], grpc.StatusCode] = {
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.AlreadyExists: grpc.StatusCode.ALREADY_EXISTS,
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.FailedPrecondition: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ResourceExhausted: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Cancelled: grpc.StatusCode.CANCELLED,
    errors.Unimplemented: grpc.StatusCode.UNIMPLEMENTED,
    errors.Internal: grpc.StatusCode.INTERNAL,
}
_KINDS = {code: kind for kind, code in CODES.items()}

EVIDENCE_KEPT = 1024
"""Characters of each piece of evidence; a status travels in a header, which peers bound to 8 KiB."""

_TRY = "; try: "

_LOST = (
    "failed to connect to all addresses", "Socket closed", "Stream removed", "Cancelling all calls", "recvmsg:",
    "sendmsg:",
)  # fmt: skip
"""How gRPC's own words begin where the process at the other end is gone."""
_LOST_CODES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN)
"""The codes that gRPC itself gives such calls; a stream that is removed is of an unknown one."""


def code_of(error: VmsandboxError) -> grpc.StatusCode:
    """The code of an error's class, or of the nearest class above it."""
    return next(CODES[kind] for kind in (*type(error).__mro__, errors.Internal) if kind in CODES)


def in_a_line(error: VmsandboxError) -> str:
    """Message and hint, for people."""
    return f"{error}{_TRY}{error.hint}" if error.hint else str(error)


def details_of(error: VmsandboxError) -> str:
    """Return the text for the client's user: message and hint on the first line, then the evidence."""
    lines = [in_a_line(error)]
    for title, text in error.evidence.items():
        lines += [f"{title}:", *(f"  {line}" for line in _end_of(text.rstrip()).splitlines())]
    return "\n".join(lines)


def _end_of(text: str) -> str:
    """The last of it: whole lines, unless a line is longer than all that is kept."""
    kept = text[-EVIDENCE_KEPT:]
    begun = kept.find("\n") + 1 if len(text) > len(kept) and text[-len(kept) - 1] != "\n" else 0
    return kept[begun:]


def error_of(code: grpc.StatusCode, details: str) -> VmsandboxError:
    """The error that a status tells; the inverse of the two above, except for parts that were cut."""
    if code in _LOST_CODES and details.startswith(_LOST):
        hint = "if the daemon has ended, start it again: `vmsandbox serve`; pods go on meanwhile"
        return errors.Unavailable("the connection to the runtime is lost", hint=hint, evidence={"gRPC": details})
    first, *rest = details.split("\n")
    message, _, hint = first.partition(_TRY)
    evidence: dict[str, str] = {}
    title = "details"
    for line in rest:
        if heading := re.fullmatch(r"(\S.*):", line):
            title = heading[1]
        else:
            evidence[title] = f"{evidence[title]}\n{line[2:]}" if title in evidence else line[2:]
    return _KINDS.get(code, errors.Internal)(message or code.name, hint=hint, evidence=evidence)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise what a server answered as the error that it was there."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_of(error.code(), error.details() or "") from None

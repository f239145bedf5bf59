"""The one tree of errors: what every layer raises and the CLI and the CRI server translate.

An error tells a person what to do. Its message says what failed; `hint` what to try; `evidence` holds what
was seen (a command's stderr, the last lines of a guest's console), kept apart so that a one-line report can
leave it out. Errors of libvirt, gRPC, asyncio or the operating system are translated where they are caught.
"""

import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import ClassVar, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class VmsandboxError(Exception):
    """Base of all errors of this project. Raise one of its children, never this.

    Args:
        message: what failed, with the ids it concerns; one sentence, no trailing full stop.
        hint: what the reader can do about it.
        evidence: what was seen, by title, e.g. `{"console": "last lines"}`.
        field: the field of the model that breaks a rule, e.g. `mounts[2].propagation`. Code that has read the model
            from a file can name the line of the field.
    """

    code: ClassVar[str] = "internal"

    def __init__(
        self, message: str, *, hint: str = "", evidence: Mapping[str, str] | None = None, field: str = ""
    ) -> None:
        """See the class."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.field = field
        self.evidence = dict(evidence or {})
        self.context: list[str] = []

    def at(self, step: str) -> Self:
        """Name the step (and pod) in which the error arose; the outermost step comes first. Returns itself."""
        self.context.insert(0, step)
        return self

    def __str__(self) -> str:
        """One line: steps and message."""
        return ": ".join([*self.context, self.message])

    def report(self) -> str:
        """The whole story, over several lines: steps, message, evidence, hint."""
        lines = [str(self)]
        for title, text in self.evidence.items():
            if seen := text.rstrip().splitlines():
                lines.append(f"{title}:")
                lines.extend(f"  {line}" for line in seen)
        if self.hint:
            lines.append(f"try: {self.hint}")
        return "\n".join(lines)


class NotFound(VmsandboxError):
    """An error: the named object does not exist."""

    code = "not_found"


class AlreadyExists(VmsandboxError):
    """An error: the object exists already, and differs from the request."""

    code = "already_exists"


class InvalidArgument(VmsandboxError):
    """The request can never succeed as it is written."""

    code = "invalid_argument"


class Mistakes(InvalidArgument):
    """All mistakes of a file, each an error of its own. Use `together`, which takes one for itself."""

    def __init__(self, errors: Sequence[VmsandboxError]) -> None:
        """See the class; `errors` are those of one file, at least two."""
        super().__init__(f"{len(errors)} mistakes")
        self.errors = tuple(errors)

    def __str__(self) -> str:
        """One line, with all mistakes."""
        return f"{super().__str__()}: {'; '.join(map(advised, self.errors))}"

    def report(self) -> str:
        """A line for each mistake."""
        return "\n".join([f"{super().__str__()}:", *(f"  {advised(error)}" for error in self.errors)])


def together(errors: Sequence[VmsandboxError]) -> VmsandboxError:
    """One error for all mistakes that were found, at least one."""
    return errors[0] if len(errors) == 1 else Mistakes(errors)


def advised(error: VmsandboxError) -> str:
    """One line: the error, with its hint."""
    return f"{error} ({error.hint})" if error.hint else str(error)


class Collected:
    """Collects the mistakes of one request, so that a person mends all of them at once.

    What can be wrong by itself is looked at by itself: `with collected.part(): ...`, or
    `collected.of(function, ...)`. Each mistake is kept once. `check` raises what was collected.
    """

    def __init__(self) -> None:
        """Nothing is wrong yet."""
        self._mistakes: dict[str, VmsandboxError] = {}

    @property
    def found(self) -> bool:
        """Whether there is a mistake."""
        return bool(self._mistakes)

    @contextmanager
    def part(self) -> Iterator[None]:
        """Keep the mistakes that the body raises; its rest is left out then."""
        try:
            yield
        except InvalidArgument as error:
            self.add(error.errors if isinstance(error, Mistakes) else (error,))

    def of(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T | None:
        """The result of a function; None where it raised mistakes, which are kept."""
        with self.part():
            return function(*args, **kwargs)
        return None

    def when(self, wrong: object, mistake: VmsandboxError) -> None:
        """Keep a mistake if something is `wrong`."""
        if wrong:
            self.add((mistake,))

    def add(self, mistakes: Sequence[VmsandboxError]) -> None:
        """Keep mistakes that were found."""
        self._mistakes.update((advised(mistake), mistake) for mistake in mistakes)

    def check(self) -> None:
        """Raise the mistakes that were kept, where there are any."""
        if self._mistakes:
            raise together(tuple(self._mistakes.values()))


class FailedPrecondition(VmsandboxError):
    """The request is well formed, but not in this state (see the state tables of `sandbox`)."""

    code = "failed_precondition"


class ResourceExhausted(VmsandboxError):
    """A limit is reached: memory, disk space, CIDs, message size."""

    code = "resource_exhausted"


class PermissionDenied(VmsandboxError):
    """The peer (a registry, libvirt, the kernel) refused the credentials or the rights given."""

    code = "permission_denied"


class Unavailable(VmsandboxError):
    """A peer cannot be reached, or died while it was being talked to; trying again may help."""

    code = "unavailable"


class KilledForMemory(Unavailable):
    """The kernel of this host killed a machine for want of memory: its pod's cgroup, or the host, has no more."""


class DeadlineExceeded(VmsandboxError):
    """The deadline passed; the message says what was seen last."""

    code = "deadline_exceeded"


class Cancelled(VmsandboxError):
    """The caller, or a newer controller, gave the request up."""

    code = "cancelled"


class Unimplemented(VmsandboxError):
    """A machine cannot give this, or this version does not yet; the message says which."""

    code = "unimplemented"


class Internal(VmsandboxError):
    """A defect: an invariant does not hold, or a peer broke its protocol."""

    code = "internal"


_BY_CODE: dict[str, type[VmsandboxError]] = {
    kind.code: kind
    for kind in (
        NotFound, AlreadyExists, InvalidArgument, FailedPrecondition, ResourceExhausted, PermissionDenied,
        Unavailable, DeadlineExceeded, Cancelled, Unimplemented, Internal,
    )
}  # fmt: skip


def error_of_code(code: str) -> type[VmsandboxError]:
    """The class for a code that crossed the wire; `Internal` for a code nobody knows (the guest is hostile)."""
    return _BY_CODE.get(code, Internal)


def hint_for_rights(number: int | None) -> str:
    """The hint for an error number of the system: rights that root has, where this process is not root's."""
    return "run it as root" if number in (errno.EACCES, errno.EPERM) and os.geteuid() else ""


def explained(error: BaseException) -> VmsandboxError:
    """The error itself where it is one of ours; else an `Internal` that names it, and has it as its cause."""
    if isinstance(error, VmsandboxError):
        return error
    internal = Internal(f"{type(error).__name__}: {error}")
    internal.__cause__ = error
    return internal

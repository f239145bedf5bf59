"""The agent's one error: a code of the host's error tree, as a string, and a sentence."""


class AgentError(Exception):
    """A request failed; it becomes an ERROR envelope.

    Attributes:
        code: `not_found`, `already_exists`, `invalid_argument`, `failed_precondition`, `resource_exhausted`,
            `unavailable`, `deadline_exceeded`, `cancelled`, `unimplemented` or `internal`.
    """

    def __init__(self, code: str, message: str) -> None:
        """Say what failed, with the ids it concerns and what a program wrote to stderr."""
        super().__init__(message)
        self.code = code


def describe(error: BaseException) -> tuple[str, str]:
    """The code and the message that tell the host of any error."""
    if isinstance(error, AgentError):
        return error.code, str(error)
    if isinstance(error, OSError):
        return _of_errno(error), f"in the guest: {error}"
    return "internal", f"in the guest: {type(error).__name__}: {error}"


def _of_errno(error: OSError) -> str:
    import errno

    exhausted = (errno.ENOSPC, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EDQUOT)
    return "resource_exhausted" if error.errno in exhausted else "internal"

"""The input of the program that builds a root image, and its error messages."""

import json
from dataclasses import dataclass

from vmsandbox.errors import Internal, VmsandboxError, error_of_code
from vmsandbox.images.rootfs.layers import RootLimit
from vmsandbox.process import Account
from vmsandbox.protocol.codec import MalformedMessage, decode, encode


@dataclass(frozen=True, slots=True)
class Job:
    """One root image to be made: of layers, the lowest first, into the open file `destination`, as `account`."""

    diff_ids: tuple[str, ...]
    """Digests of the uncompressed layers."""
    layers: int
    """A socket from which the layers come as open files, each as soon as it is there."""
    destination: int
    keep: int
    """An empty file for what the layers unpack to."""
    limit: RootLimit
    account: Account

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The open files that the program needs."""
        return (self.layers, self.destination, self.keep)

    def to_bytes(self) -> bytes:
        """For the program's stdin."""
        return json.dumps(encode(self)).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Job":
        """Decode the result of `to_bytes`."""
        return decode(cls, json.loads(data))


@dataclass(frozen=True, slots=True)
class Failure:
    """A VmsandboxError on its way from the program to its caller."""

    code: str
    message: str
    hint: str
    evidence: dict[str, str]

    @classmethod
    def of(cls, error: VmsandboxError) -> "Failure":
        """The error with its steps."""
        return cls(error.code, str(error), error.hint, error.evidence)

    def to_line(self) -> str:
        """For stderr."""
        return json.dumps(encode(self))

    @classmethod
    def in_text(cls, stderr: str) -> VmsandboxError:
        """The error that the last line of the program's stderr describes; else one that shows what it printed."""
        try:
            failure = decode(cls, json.loads(stderr.strip().rpartition("\n")[2]))
        except (ValueError, RecursionError, MalformedMessage):
            return Internal("the root image cannot be built", evidence={"stderr": stderr})
        return error_of_code(failure.code)(failure.message, hint=failure.hint, evidence=failure.evidence)

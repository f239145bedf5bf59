"""The end of a remote command, as its error stream tells it: metav1.Status as JSON (v4), or text (before v4)."""

import json
from dataclasses import dataclass

from vmsandbox.errors import Internal

STATUS_LIMIT = 64 * 1024
"""Bytes that a status may have."""

_REASON_EXIT_CODE = "NonZeroExitCode"
_CAUSE_EXIT_CODE = "ExitCode"
_INTERNAL = "Internal error occurred: "
"""The words that Kubernetes puts before the message of each InternalError (apimachinery, NewInternalError)."""


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """The exit code of a command, or None and the reason why there is no exit code (`message`)."""

    exit_code: int | None = 0
    message: str = ""

    def encode(self, *, as_json: bool) -> bytes:
        """Return the content of the error stream; text says nothing of success."""
        if self.exit_code == 0:
            return _json({"status": "Success"}) if as_json else b""
        if self.exit_code is None:
            text = f"{_INTERNAL}{self.message}"
            body = {"status": "Failure", "reason": "InternalError", "message": text, "code": 500}
            return _json(body) if as_json else text.encode()
        text = f"command terminated with non-zero exit code: exit code {self.exit_code}"
        cause = {"reason": _CAUSE_EXIT_CODE, "message": str(self.exit_code)}
        body = {
            "status": "Failure",
            "reason": _REASON_EXIT_CODE,
            "message": text,
            "details": {"causes": [cause]},
        }
        return _json(body) if as_json else text.encode()

    @classmethod
    def decode(cls, data: bytes) -> "CommandStatus":
        """Read what an error stream of v4 or later has held.

        Raises:
            Internal: that is not a status.
        """
        try:
            body = json.loads(data)
            if body["status"] == "Success":
                return cls()
            if body.get("reason") != _REASON_EXIT_CODE:
                message = str(body.get("message") or "the server does not say why")
                return cls(None, message.removeprefix(_INTERNAL))
            causes = body["details"]["causes"]
            code = next(int(cause["message"]) for cause in causes if cause["reason"] == _CAUSE_EXIT_CODE)
            return cls(code, str(body.get("message", "")))
        except (ValueError, KeyError, TypeError, AttributeError, StopIteration, RecursionError):
            raise Internal(
                "the server's error stream does not hold a status", evidence={"status": repr(data[:500])}
            ) from None


def _json(body: dict[str, object]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()

"""One call of one CNI plugin: its environment, its input, what its answer means (CNI spec 1.1, sections 2 and 5)."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from vmsandbox import process
from vmsandbox.errors import DeadlineExceeded, FailedPrecondition, Internal, Unavailable, VmsandboxError
from vmsandbox.fs import USUAL
from vmsandbox.protocol.codec import JSON

OUTPUT_KEPT = 1024 * 1024
"""Bytes of a result; a plugin that prints more is broken."""

_EVIDENCE_KEPT = 8 * 1024

# CNI spec, "Error": what is not here (I/O, try again later, and codes of the plugin's own) may succeed when repeated.
_ERRORS: dict[int, type[VmsandboxError]] = {
    1: FailedPrecondition,  # incompatible CNI version
    2: FailedPrecondition,  # unsupported field in the network configuration
    4: Internal,  # invalid environment variables
    6: FailedPrecondition,  # failed to decode content
    7: FailedPrecondition,  # invalid network configuration
}


def find(kind: str, directories: Sequence[Path]) -> Path:
    """The program of a plugin's type. Raises FailedPrecondition where no directory has it."""
    for directory in directories:
        if os.access(directory / kind, os.X_OK) and (directory / kind).is_file():
            return directory / kind
    raise FailedPrecondition(
        f"the CNI plugin {kind} is not in {', '.join(map(str, directories))}",
        hint="install the plugins (Debian: containernetworking-plugins) or name their directory in config.yaml",
    )


async def call(
    kind: str,
    command: str,
    configuration: JSON,
    *,
    parameters: Mapping[str, str],
    directories: Sequence[Path],
    timeout: float,
) -> JSON:
    """Run a plugin and return the JSON that it printed, None where it printed nothing.

    At the deadline, and on cancellation, the plugin and what it started are killed. Plugins keep files that others
    read (/var/lib/cni, /var/run/calico), so their umask is the one that other runtimes call them with.

    Args:
        kind: the plugin's `type`.
        command: CNI_COMMAND.
        configuration: for its standard input.
        parameters: the other CNI_ variables but CNI_PATH. The rest of the environment is this process's, as with
            libcni: plugins look for iptables in PATH, and for their own settings.
        directories: where plugins are; for CNI_PATH also.
        timeout: seconds.

    Raises:
        FailedPrecondition: there is no such plugin, or its configuration is wrong.
        DeadlineExceeded: it did not end in time.
        Unavailable: it failed, in a way that may pass.
        Internal: it broke the protocol.
    """
    path = find(kind, directories)
    search = os.pathsep.join(map(str, directories))
    env = {**os.environ, **parameters, "CNI_COMMAND": command, "CNI_PATH": search}
    # process.run returns no stdout of a program that fails, where CNI has its error: so stdout goes to a memory file.
    with os.fdopen(os.memfd_create("cni"), "w+b") as output:
        failure: Internal | None = None
        try:
            stdin = json.dumps(configuration).encode()
            await process.run([str(path)], stdin=stdin, timeout=timeout, env=env, output=output, umask=USUAL)
        except Internal as error:
            failure = error
        except DeadlineExceeded:
            raise DeadlineExceeded(f"the CNI plugin {kind} did not end its {command} within {timeout:g} s") from None
        output.seek(0)
        printed = output.read(OUTPUT_KEPT + 1)
    if failure is not None:
        raise failed(kind, command, printed, failure.evidence.get("stderr", "")) from None
    return _result(kind, command, printed)


def _result(kind: str, command: str, printed: bytes) -> JSON:
    if len(printed) > OUTPUT_KEPT:
        raise Internal(f"the CNI plugin {kind} printed over {OUTPUT_KEPT} bytes on {command}")
    if not printed.strip():
        return None
    try:
        result = json.loads(printed)
    except (ValueError, RecursionError):
        result = None
    if not isinstance(result, dict):
        raise Internal(
            f"the CNI plugin {kind} printed no JSON object on {command}", evidence={"stdout": _shown(printed)}
        )
    return result


def failed(kind: str, command: str, printed: bytes, stderr: str) -> VmsandboxError:
    """The error that a plugin's error result ({code, msg, details}) stands for."""
    try:
        error = json.loads(printed[:OUTPUT_KEPT])
        code, message = int(error["code"]), str(error["msg"])
    except (ValueError, KeyError, TypeError, RecursionError):
        evidence = {"stdout": _shown(printed), "stderr": stderr}
        return Unavailable(f"the CNI plugin {kind} failed on {command}", evidence=_without_empty(evidence))
    evidence = {"details": str(error.get("details") or "")[:_EVIDENCE_KEPT], "stderr": stderr}
    return _ERRORS.get(code, Unavailable)(
        f"the CNI plugin {kind} failed on {command}: {message[:_EVIDENCE_KEPT]} (code {code})",
        evidence=_without_empty(evidence),
    )


def _shown(printed: bytes) -> str:
    return printed[-_EVIDENCE_KEPT:].decode(errors="replace")


def _without_empty(evidence: dict[str, str]) -> dict[str, str]:
    return {title: text for title, text in evidence.items() if text}

"""The hooks of config.json that run on the host (runtime-spec, POSIX-platform Hooks); the state is their input."""

import json
from collections.abc import Mapping
from typing import Any

from vmsandbox.oci_command.errors import CommandError

KEPT = ("poststart", "poststop")
"""The hooks that later commands run."""


def run(hooks: Mapping[str, Any], kind: str, state: Mapping[str, Any]) -> None:
    """Run the hooks of a kind, one after the other, to their ends.

    Raises:
        CommandError: one cannot be run, fails, or takes longer than its `timeout`; those after it do not run.
    """
    for number, hook in enumerate(hooks.get(kind) or ()):
        try:
            _run(hook, json.dumps(state).encode())
        except CommandError as error:
            raise CommandError(f"error running hook #{number}: {error}") from None


def _run(hook: Mapping[str, Any], state: bytes) -> None:
    import subprocess  # which takes longer to load than most commands run

    path, timeout = str(hook.get("path", "")), hook.get("timeout")
    if not path.startswith("/"):
        raise CommandError(f"the path of a hook has to be absolute: {path!r}")
    environment = dict(str(entry).partition("=")[::2] for entry in hook.get("env") or ())
    arguments = [str(argument) for argument in hook.get("args") or ()] or [path]
    try:
        done = subprocess.run(
            arguments, executable=path, env=environment, input=state, capture_output=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired:
        raise CommandError(f"hook ran past specified timeout of {float(timeout or 0):.1f}s") from None
    except OSError as error:
        raise CommandError(f"fork/exec {path}: {error.strerror}") from None
    if done.returncode:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        out, err = (json.dumps(text.decode(errors="replace"))[1:-1] for text in (done.stdout, done.stderr))
        raise CommandError(f"error running hook: {ended}, stdout: {out}, stderr: {err}")

"""`run`, and the hooks that the command runs on the host."""

import json
import os
import pty
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.oci_runtime import OciRuntime
from tests.unit.oci_command.caller import Caller, exit_status, needs_root

pytestmark = needs_root


def bundle(caller: Caller, *command: str, **parts: Any) -> str:
    """A bundle with other parts of config.json."""
    made = caller.bundle(*command)
    path = caller.directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | parts))
    return made


def hook(script: str, **more: Any) -> dict[str, Any]:
    return {"path": "/bin/sh", "args": ["sh", "-c", script], **more}


async def test_run_waits_for_the_end_has_its_status_and_leaves_nothing(caller: Caller, runtime: OciRuntime) -> None:
    made = bundle(caller, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert await caller.run("run", "--bundle", made, "c1") == (7, "out\n", "err\n")
    assert (runtime.sandboxes, list((caller.directory / "root").iterdir())) == ({}, [])
    assert (await caller.run("run", "--keep", "--bundle", made, "c1"))[0] == 7
    assert (await caller.state())["status"] == "stopped"
    assert await caller.run("run", "--bundle", made, "c1") == (1, "", "container with id exists: c1\n")


async def test_the_network_that_a_hook_puts_into_a_new_namespace_is_named_at_the_start(
    caller: Caller, runtime: OciRuntime
) -> None:
    pid = await caller.create("true")
    assert (await caller.run("start", "c1"))[0] == 0
    [joined] = [call for call in runtime.calls if call[0] == "join_network"]
    assert joined == ("join_network", *runtime.sandboxes, Path(f"/proc/{pid}/ns/net"))


async def test_run_leaves_a_container_in_the_background(caller: Caller) -> None:
    pid_file = caller.directory / "pid"
    made = bundle(caller, "sh", "-c", "exit 5")
    assert await caller.run("run", "-d", "--bundle", made, "--pid-file", str(pid_file), "c1") == (0, "", "")
    assert await exit_status(int(pid_file.read_text())) == 5


async def test_run_carries_the_terminal_of_a_container(caller: Caller, runtime: OciRuntime) -> None:
    made = caller.bundle("sh", "-c", "read line; echo said $line", terminal=True)
    ours, theirs = pty.openpty()
    os.write(ours, b"hello\n")
    assert await caller.run("run", "--bundle", made, "c1", stdin=theirs) == (0, "said hello\n", "")
    os.close(ours)
    os.close(theirs)


@pytest.mark.parametrize(
    ("words", "terminal", "said"),
    [
        (("-d",), True, "cannot allocate tty if runc will detach without setting console socket"),
        (("--console-socket", "/x"), True, "cannot use console socket if runc will not detach or allocate tty"),
        (("-d", "--console-socket", "/x"), False, "cannot use console socket if runc will not detach or allocate tty"),
    ],
)
async def test_a_terminal_and_its_socket_belong_together(
    caller: Caller, words: tuple[str, ...], terminal: bool, said: str
) -> None:
    made = caller.bundle("true", terminal=terminal)
    assert await caller.run("run", *words, "--bundle", made, "c1") == (1, "", f"{said}\n")


async def test_hooks_run_in_their_order_with_the_state_as_their_input(caller: Caller, tmp_path: Path) -> None:
    told = tmp_path / "told"
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    hooks = {kind: [hook(f"echo {kind} $A >>{told}; cat >>{told}; echo >>{told}", env=["A=b"])] for kind in kinds}
    made = bundle(caller, "sleep", "0.5", hooks=hooks)
    pid_file = tmp_path / "pid"
    assert await caller.run("create", "--bundle", made, "--pid-file", str(pid_file), "c1") == (0, "", "")
    assert told.read_text().count("\n") == 4
    pid = int(pid_file.read_text())
    assert (await caller.run("start", "c1"))[0] == 0
    await exit_status(pid)
    assert (await caller.run("delete", "c1"))[0] == 0
    lines = told.read_text().splitlines()
    assert lines[::2] == [f"{kind} b" for kind in kinds]
    states = [json.loads(line) for line in lines[1::2]]
    assert [state["status"] for state in states] == ["creating", "creating", "running", "stopped"]
    assert [state.get("pid") for state in states] == [pid, pid, pid, None]
    assert {(state["id"], state["bundle"]) for state in states} == {("c1", made)}


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (hook("echo out; echo oops >&2; exit 3"), "error running hook: exit status 3, stdout: out\\n, stderr: oops\\n"),
        (hook("sleep 100", timeout=1), "hook ran past specified timeout of 1.0s"),
        ({"path": "/nowhere"}, "fork/exec /nowhere: No such file or directory"),
        ({"path": "sh"}, "the path of a hook has to be absolute"),
    ],
)
async def test_a_hook_that_fails_keeps_the_container_from_being_made(
    caller: Caller, runtime: OciRuntime, tmp_path: Path, failing: dict[str, Any], said: str
) -> None:
    hooks = {"createRuntime": [failing], "poststop": [hook(f"touch {tmp_path}/stopped")]}
    code, _, errors = await caller.run("create", "--bundle", bundle(caller, "true", hooks=hooks), "c1")
    assert code == 1 and f"error running hook #0: {said}" in errors
    assert (runtime.sandboxes, list((caller.directory / "root").iterdir())) == ({}, [])
    assert (tmp_path / "stopped").exists()


async def test_a_late_hook_that_fails_is_told_and_changes_nothing(caller: Caller) -> None:
    hooks = {"poststart": [hook("exit 4")], "poststop": [hook("exit 5")]}
    code, _, errors = await caller.run("run", "--bundle", bundle(caller, "true", hooks=hooks), "c1")
    assert code == 0 and "exit status 4" in errors and "exit status 5" in errors
    levels = [json.loads(line)["level"] for line in (caller.directory / "log").read_text().splitlines()]
    assert levels == ["warning", "warning"]


async def test_hooks_that_act_on_the_mounts_of_a_container_are_refused(caller: Caller) -> None:
    made = bundle(caller, "true", hooks={"createContainer": [hook("true")]})
    code, _, errors = await caller.run("create", "--bundle", made, "c1")
    assert code == 1 and "hooks.createContainer in config.json is refused" in errors

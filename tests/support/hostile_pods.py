"""Pods that are hostile to a daemon which comes back, each in its own way, beside others that are not."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from tests.support.conformance_client import Container, Pod, eventually
from tests.support.hostile_container import ATTACKS, PRIVILEGED
from tests.support.libvirt import qemu_pid
from tests.support.restartable import Node

Outside = Callable[[contextlib.ExitStack, Node, str], None]
"""Does something to a sandbox (by its id) while there is no daemon; what it starts ends with the stack."""


@dataclass(frozen=True)
class Way:
    """How a pod is hostile: by an attack of its container, and by what is done to its machine from outside."""

    attack: str = ""
    outside: Outside | None = None


def freeze(_stack: contextlib.ExitStack, _node: Node, sandbox_id: str) -> None:
    """Stop its QEMU, like that of a guest that keeps it busy in a device's emulation."""
    os.kill(qemu_pid(f"vmsandbox-{sandbox_id}"), signal.SIGSTOP)


def lose_its_vsock_daemon(_stack: contextlib.ExitStack, node: Node, sandbox_id: str) -> None:
    """A guest has found the way to end it."""
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (directory / "cmdline").read_bytes()
            if b"--guest-cid" in line and f"/{sandbox_id}/".encode() in line and str(node.directory).encode() in line:
                os.kill(int(directory.name), signal.SIGKILL)


def replace_its_agent(*misbehaviours: str) -> Outside:
    """Another agent answers, of the same boot, with these misbehaviours (`tests.fakes.hostile_agent`)."""

    def replace(stack: contextlib.ExitStack, node: Node, sandbox_id: str) -> None:
        socket = next((node.directory / "run").rglob(f"{sandbox_id}/**/vsock.sock"))
        socket.rename(socket.with_name("moved.sock"))
        command = [sys.executable, "-m", "tests.fakes.hostile_agent", str(socket)]
        record = _record(node, sandbox_id)
        known = [f"boot={record['boot_id']}", f"secret={record['secret']}"]
        agent = stack.enter_context(subprocess.Popen([*command, *misbehaviours, *known]))
        stack.callback(agent.terminate)
        eventually(socket.exists)

    return replace


def _record(node: Node, sandbox_id: str) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(node.directory / "state/serve/state.db")) as database:
        (body,) = database.execute("SELECT body FROM record WHERE id = ?", (sandbox_id,)).fetchone()
    return dict(json.loads(body))


WAYS: Mapping[str, Way] = {
    "floods its output": Way("floods its output"),
    "cannot be reached": Way("removes its vsock device"),
    "writes at the top of its share": Way("puts links into the share"),
    "hangs": Way(outside=freeze),
    "has another agent, with strangers": Way(outside=replace_its_agent("lists strangers", "deletes slowly")),
    "has an agent that says nothing": Way(outside=replace_its_agent("never says hello")),
    "has lost its vsock daemon": Way(outside=lose_its_vsock_daemon),
}
"""The ways by name."""


@dataclass
class Company:
    """Quiet pods and hostile ones on a node, with a container each."""

    node: Node
    quiet: list[Container]
    hostile: dict[str, Container]
    stack: contextlib.ExitStack

    @property
    def pods(self) -> list[Pod]:
        """All of them, by the connection of now."""
        every = (each.pod for each in (*self.quiet, *self.hostile.values()))
        return [Pod(self.node.cri, pod.id, pod.config) for pod in every]

    def kill_the_daemon(self) -> None:
        """And do to the machines what is to be done while there is none."""
        self.node.end(signal.SIGKILL)
        for name, container in self.hostile.items():
            if outside := WAYS[name].outside:
                outside(self.stack, self.node, container.pod.id)

    def quiet_now(self) -> list[Container]:
        """The containers of the quiet pods, by the connection of now."""
        return [Container(Pod(self.node.cri, c.pod.id, c.pod.config), c.id, c.config) for c in self.quiet]


@contextlib.contextmanager
def company(node: Node, quiet: int, ways: Sequence[str], handler: str = "") -> Iterator[Company]:
    """So many quiet pods, and one hostile in each of these ways, started at once. They are the caller's to remove."""

    def start(way: str) -> Container:
        security = PRIVILEGED if way else {}
        pod = node.cri.run_pod(handler, linux={"security_context": security})
        attack = WAYS[way].attack if way else ""
        command = ("sh", "-c", ATTACKS[attack]) if attack else ()
        return pod.start(*command, security=security)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(quiet + len(ways)) as pool:
        started = list(pool.map(start, [*[""] * quiet, *ways]))
        yield Company(node, started[:quiet], dict(zip(ways, started[quiet:], strict=True)), stack)


def timed(what: str, work: Callable[[], object], say: Callable[[str], object]) -> None:
    """Do something, and say how long it took."""
    begin = time.monotonic()
    work()
    say(f"{what}: {time.monotonic() - begin:.2f} s\n")


def come_back(together: Company, say: Callable[[str], object] = lambda _: None) -> None:
    """The daemon is killed and started: every pod is listed, the quiet ones work, and all can be removed."""
    node, pods, pool = together.node, together.pods, ThreadPoolExecutor(len(together.pods))
    together.kill_the_daemon()
    timed("the daemon is started, and its socket answers", node.start, say)
    listed = {pod.id: pod.state for pod in node.cri.list_pods()}
    assert {pod.id for pod in pods} <= listed.keys()
    assert all(listed[container.pod.id] == pb.SANDBOX_READY for container in together.quiet)
    say(f"listed at once: {len(listed)} pods, {sum(s == pb.SANDBOX_READY for s in listed.values())} of them READY\n")
    with pool:
        outputs: list[str] = []
        timed(
            f"a command in each of the {len(together.quiet)} quiet pods",
            lambda: outputs.extend(pool.map(lambda c: c.output("echo", "here"), together.quiet_now())),
            say,
        )
        assert outputs == ["here\n"] * len(together.quiet)
        new = node.cri.run_pod()
        assert new.run("echo", "new").stdout == "new\n"
        new.remove()
        say("a new pod was run and removed meanwhile\n")
        for name, container in together.hostile.items():
            pod = Pod(node.cri, container.pod.id, container.pod.config)
            timed(f"stopped and removed: the pod that {name}", lambda pod=pod: (pod.stop(), pod.remove()), say)
        quiet = [container.pod for container in together.quiet_now()]
        timed("stopped: the quiet pods", lambda: list(pool.map(Pod.stop, quiet)), say)
        timed("removed: the quiet pods", lambda: list(pool.map(Pod.remove, quiet)), say)
    left = {pod.id for pod in node.cri.list_pods()} & {pod.id for pod in pods}
    assert not left
    assert not {path.name for path in node.sandboxes()} & {pod.id for pod in pods}

"""Misbehaviours of an agent, each with a name, to be combined: a guest whose kernel or agent was taken over.

`misbehave(agent, "lists strangers", "deletes slowly")` scripts a `FakeAgent`, before it is dialled or while it runs
(then `agent.hang_up()` makes the host meet what concerns a new connection). A feature that takes something from a guest
is tested against the misbehaviours that concern it, or against all:

    @pytest.mark.parametrize("name", MISBEHAVIOURS)

With `python -m tests.fakes.hostile_agent SOCKET NAME...` one runs in a process of its own, behind a hybrid vsock socket
as in vhost-device-vsock. There it can stand before a real machine: see `HybridAgent`.
"""

import asyncio
import itertools
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.fakes.agent import FakeAgent, Refusal
from tests.fakes.processes import FakeProcess
from vmsandbox.guest.transport.connection import GuestConnection
from vmsandbox.protocol.codec import JSON, encode
from vmsandbox.protocol.framing import MAX_FRAME, pack, pack_json
from vmsandbox.protocol.messages import (
    MAX_CONTAINERS,
    REQUESTS,
    Containers,
    Created,
    Empty,
    Envelope,
    Exit,
    Kind,
    OciState,
    ProcessUser,
)

Misbehaviour = Callable[[FakeAgent], None]

HUGE = 2**70
"""Fits JSON and Python; no 64-bit field of the CRI, and no SQLite integer."""

SLOW = 3.0
"""Seconds that a slow answer takes."""


def misbehave(agent: FakeAgent, *names: str) -> FakeAgent:
    """Script the agent with the misbehaviours of these names, and return it."""
    for name in names:
        MISBEHAVIOURS[name](agent)
    return agent


async def hang(_: object) -> None:
    """Never return."""
    await asyncio.Event().wait()


def before(method: str, action: Callable[[Any], Any]) -> Misbehaviour:
    """Do something before the method (or `hello`) is carried out: hang, wait, refuse, end the connection."""

    def script(agent: FakeAgent) -> None:
        agent.before[method] = action

    return script


def late(method: str, seconds: float = SLOW) -> Misbehaviour:
    """Carry a method (or `hello`) out after so many seconds."""
    return before(method, lambda _: asyncio.sleep(seconds))


def answering(method: str, result: object) -> Misbehaviour:
    """Give this result for a method, and do nothing."""

    def script(agent: FakeAgent) -> None:
        agent.answers[method] = lambda _: result

    return script


def sending(work: Callable[[GuestConnection], Any]) -> Misbehaviour:
    """Send something unasked on every control connection, as soon as the hello is done."""
    return lambda agent: agent.unasked.append(work)


def _answers_no_request(agent: FakeAgent) -> None:
    agent.before.update(dict.fromkeys(REQUESTS, hang))


def _breaks_answers(agent: FakeAgent) -> None:
    agent.answers.update(dict.fromkeys(REQUESTS, lambda _: {"\x1b[2J": [None]}))


def _hangs_up(agent: FakeAgent) -> None:
    async def hang_up(_: object) -> None:
        asyncio.get_running_loop().call_soon(lambda: agent._spawn(agent.hang_up()))
        await asyncio.Event().wait()

    agent.before.update(dict.fromkeys(REQUESTS, hang_up))


def _says_another_boot(agent: FakeAgent) -> None:
    agent.reply = replace(agent.reply, boot_id="another boot")


def _names_no_features(agent: FakeAgent) -> None:
    agent.reply = replace(agent.reply, features=())


def _names_too_many_features(agent: FakeAgent) -> None:
    agent.reply = replace(agent.reply, features=tuple(f"{HUGE + number}" for number in range(1000)))


def _forgets_every_method(agent: FakeAgent) -> None:
    async def refuse(_: object) -> None:
        raise Refusal("unimplemented", "never heard of it\x1b[2J")

    agent.before.update(dict.fromkeys(REQUESTS, refuse))


def _gives_huge_numbers(agent: FakeAgent) -> None:
    async def end(_: FakeProcess) -> int:
        return HUGE

    agent.programs["run",] = end
    answering("create_container", Created(ProcessUser(HUGE, -HUGE, (HUGE,))))(agent)
    sending(_huge_exit)(agent)


def _prints_without_end(agent: FakeAgent) -> None:
    async def yes(process: FakeProcess) -> int:
        while True:
            await process.write(b"\n" * 16384)

    agent.programs["run",] = yes


async def _refuse(_: object) -> None:
    raise Refusal("internal", "I will not\x1b[2J")


def _event(number: int, body: JSON) -> bytes:
    return pack_json(encode(Envelope(Kind.EVENT, number, Exit.EVENT, body)))


def _exit(**changes: int) -> JSON:
    return encode(replace(Exit("a-stranger", 0, 1), **changes))


async def _huge_exit(connection: GuestConnection) -> None:
    await connection.send(_event(1, _exit(exit_code=HUGE, at=HUGE)))


async def _flood(connection: GuestConnection, frames: "itertools.count[int] | itertools.repeat[int]") -> None:
    for number in frames:
        await connection.send(_event(number, _exit()))
        await asyncio.sleep(0)  # In the process of a test the host is to have its turns.


async def _large_frames(connection: GuestConnection) -> None:
    frame = _event(1, encode(replace(Exit("a-stranger", 0, 1), exec_id="x" * (MAX_FRAME - 200))))
    while True:
        await connection.send(frame)


async def _deep_frames(connection: GuestConnection) -> None:
    while True:
        await connection.send(pack(b'{"kind":"event","id":1,"body":' + b"[" * (MAX_FRAME // 2)))


async def _half_frame(connection: GuestConnection) -> None:
    await connection.send(MAX_FRAME.to_bytes(4, "big") + b'{"kind":')
    connection._writer.transport.abort()


async def _goodbye(connection: GuestConnection) -> None:
    await connection.send(pack_json(encode(Envelope(Kind.GOODBYE, body="so long\x1b[2J"))))


_STRANGERS = Containers(tuple(OciState(f"stranger-{n}", "running", 1) for n in range(MAX_CONTAINERS)))

MISBEHAVIOURS: Mapping[str, Misbehaviour] = {
    "never says hello": before("hello", hang),
    "says hello late": late("hello"),
    "says another boot id": _says_another_boot,
    "names no features": _names_no_features,
    "names too many features": _names_too_many_features,
    "forgets every method": _forgets_every_method,
    "says goodbye": sending(_goodbye),
    "cuts a frame": sending(_half_frame),
    "hangs up at every request": _hangs_up,
    "answers no request": _answers_no_request,
    "breaks every answer": _breaks_answers,
    "lists strangers": answering("list_containers", _STRANGERS),
    "deletes slowly": late("delete_container"),
    "refuses to delete": before("delete_container", _refuse),
    "keeps its disks": before("detach_image", hang),
    "keeps its execs": before("end_execs", hang),
    "keeps its processes": answering("signal_container", Empty()),
    "tells of strangers": sending(lambda connection: connection.send(_event(1, _exit()))),
    "replays an event": sending(lambda connection: _flood(connection, itertools.repeat(1))),
    "floods with events": sending(lambda connection: _flood(connection, itertools.count(1))),
    "floods with large frames": sending(_large_frames),
    "nests deeply": sending(_deep_frames),
    "gives huge numbers": _gives_huge_numbers,
    "prints without end": _prints_without_end,
}
"""Misbehaviours by name. Containers of the program `run` (`tests.fakes.host.app`) have bad output and ends."""


class HybridAgent(FakeAgent):
    """A fake agent behind one Unix socket, as in vhost-device-vsock: `CONNECT port`, answered by `OK`.

    A sandbox's `vsock.sock` may be moved aside and this put in its place: the daemon, restarted, then meets a real
    machine whose agent is hostile.
    """

    def __init__(self, socket: Path) -> None:
        super().__init__(socket.parent)
        self._socket = socket

    async def listen(self) -> None:
        self._servers.append(await asyncio.start_unix_server(self._accepting(self._connected), str(self._socket)))

    async def _connected(self, connection: GuestConnection) -> None:
        port = int((await connection._reader.readline()).split()[1])
        connection._writer.write(b"OK %d\n" % port)
        await (self._serve_controller if port == 1024 else self._serve_stream)(connection)


async def main(socket: Path, *names: str) -> None:
    """Serve until SIGTERM. Of the names, `boot=ID` gives the boot id, and `secret=HEX` the machine's secret."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    agent = HybridAgent(socket)
    for name in names:
        if name.startswith("boot="):
            agent.reply = replace(agent.reply, boot_id=name.removeprefix("boot="))
        elif name.startswith("secret="):
            agent.secret = bytes.fromhex(name.removeprefix("secret="))
        else:
            misbehave(agent, name)
    async with agent:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))

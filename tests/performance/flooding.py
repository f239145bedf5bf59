"""An agent in a process of its own, quiet or flooding its host, for `floods`.

    python -m tests.performance.flooding DIRECTORY FLOOD

It listens in the directory as `FakeAgent` does, says so by a line, floods as soon as its container has started, and
ends with its input.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from tests.fakes.agent import FakeAgent
from tests.fakes.processes import FakeProcess, until_killed
from vmsandbox.guest.transport.connection import GuestConnection
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import MAX_FRAME, pack, pack_json
from vmsandbox.protocol.messages import Envelope, Exit, Kind

COMMAND = "true"
"""The command of `ExecSync`: it ends at once."""
_PIECE = 64 * 1024
_DEPTH = 900


async def true(_: FakeProcess) -> int:
    return 0


async def printing(process: FakeProcess, line: bytes) -> int:
    while True:
        await process.write(line * (_PIECE // len(line)))


async def empty_lines(process: FakeProcess) -> int:
    return await printing(process, b"\n")


async def honest_lines(process: FakeProcess) -> int:
    return await printing(process, b"x" * 99 + b"\n")


def event(agent: FakeAgent, number: int) -> bytes:
    """Return the event of the container's end, again."""
    container_id = next(iter(agent.processes), ("", ""))[0]
    return pack_json(encode(Envelope(Kind.EVENT, number, Exit.EVENT, encode(Exit(container_id, 0, 1)))))


def replayed(agent: FakeAgent) -> Iterator[bytes]:
    while True:
        yield event(agent, 1) * 500


def exits(agent: FakeAgent) -> Iterator[bytes]:
    for first in itertools.count(1, 500):
        yield b"".join(event(agent, number) for number in range(first, first + 500))


def large(_: FakeAgent) -> Iterator[bytes]:
    frame = pack(b'{"kind":"event","body":[%s]}' % b",".join([b"0"] * (MAX_FRAME // 2 - 50)))
    while True:
        yield frame


def nested(_: FakeAgent) -> Iterator[bytes]:
    deep = b"[" * _DEPTH + b"]" * _DEPTH
    frame = pack(b'{"kind":"event","body":[%s]}' % b",".join([deep] * (MAX_FRAME // (len(deep) + 1) - 1)))
    while True:
        yield frame


def answers(_: FakeAgent) -> Iterator[bytes]:
    while True:
        yield pack(b'{"kind":"response","id":7777}') * 500


PROGRAMS = {"yes": empty_lines, "lines": honest_lines}
"""The program of a container, by the name of the flood; containers of other floods print nothing."""

FRAMES: dict[str, Callable[[FakeAgent], Iterator[bytes]]] = {
    "replayed": replayed, "exits": exits, "large": large, "nested": nested, "answers": answers,
}  # fmt: skip
"""The frames that an agent sends on its control connection, without end."""


async def chunks(connection: GuestConnection) -> None:
    """The output of a container in chunks of one byte, whether or not it is acknowledged."""
    while True:
        await connection.send(pack(b"\n") * 10_000)


async def send(agent: FakeAgent, frames: Iterator[bytes]) -> None:
    while agent._controller is None or not agent._started:
        await asyncio.sleep(0.01)
    for frame in frames:
        while agent._controller is None:
            await asyncio.sleep(0.01)
        with contextlib.suppress(OSError):
            await agent.say(frame)


async def main(directory: Path, flood: str) -> None:
    agent = FakeAgent(directory)
    agent.programs = {(COMMAND,): true, ("run",): PROGRAMS.get(flood, until_killed)}
    if flood == "chunks":
        agent._open_stream = _tokens_for(agent, chunks)  # type: ignore[method-assign]
    async with agent:
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        flooding = asyncio.create_task(send(agent, FRAMES[flood](agent) if flood in FRAMES else iter(())))
        await asyncio.to_thread(sys.stdin.read)
        flooding.cancel()


def _tokens_for(
    agent: FakeAgent, serve: Callable[[GuestConnection], Awaitable[None]]
) -> Callable[..., Awaitable[object]]:
    async def open_stream(_: object) -> object:
        return agent._offer(serve)

    return open_stream


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

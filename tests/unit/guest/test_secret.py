"""The secret of a machine: both ends of a connection prove that they know it, and nothing tells it."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.agent import FakeAgent
from tests.fakes.hostile_agent import hang
from tests.fakes.transport import UnixTransport
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.guest.session import RunState, Session
from vmsandbox.guest.session.secret import secret_offered
from vmsandbox.protocol.codec import MalformedMessage, decode
from vmsandbox.protocol.messages import HelloProof, ListContainers
from vmsandbox.protocol.secret import PORT_NAME, SECRET_BYTES, End, prove, proves, random_bytes
from vmsandbox.state import SandboxRecord
from vmsandbox_agent.setup.secret import read_secret

SECRET, OTHER = random_bytes(), random_bytes()


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[FakeAgent]:
    async with FakeAgent(tmp_path) as agent:
        agent.secret = SECRET
        yield agent


def session(tmp_path: Path, secret: bytes) -> Session:
    return Session(UnixTransport(tmp_path), "pod", hang, secret=secret)


async def test_both_ends_know_each_other_again_on_every_connection(agent: FakeAgent, tmp_path: Path) -> None:
    async with session(tmp_path, SECRET) as connected:
        await connected.connect(10)
        await agent.hang_up()
        await connected.request(ListContainers(), 10)
    nonces = {hello.nonce for hello in agent.hellos}
    assert len(nonces) == 2 and all(len(nonce) == 64 for nonce in nonces)


@pytest.mark.parametrize("known", [b"", OTHER], ids=["none", "another"])
async def test_an_agent_that_does_not_know_the_secret_is_refused_at_once(
    agent: FakeAgent, tmp_path: Path, known: bytes
) -> None:
    agent.secret = known
    async with session(tmp_path, SECRET) as refused:
        with pytest.raises(FailedPrecondition, match="does not know the machine's secret") as caught:
            await refused.connect(10)
    assert "build-guest" in caught.value.hint


async def test_an_agent_in_the_place_of_a_known_one_closes_the_session(agent: FakeAgent, tmp_path: Path) -> None:
    async with session(tmp_path, SECRET) as connected:
        await connected.connect(10)
        agent.secret = OTHER
        await agent.hang_up()
        await connected.wait_closed()
        assert connected.state is RunState.CLOSED
        assert "secret" in str(connected.reason)


async def test_a_machine_that_was_booted_without_a_secret_is_taken_back(agent: FakeAgent, tmp_path: Path) -> None:
    agent.secret = b""
    async with session(tmp_path, b"") as connected:
        await connected.connect(10)
        assert agent.hellos[0].nonce == ""


def test_a_proof_is_that_of_one_end_of_one_connection() -> None:
    proof = prove(SECRET, End.HOST, "a", "b")
    assert proves(proof, SECRET, End.HOST, "a", "b")
    assert not any(
        [
            proves(proof, SECRET, End.AGENT, "a", "b"),
            proves(proof, SECRET, End.HOST, "b", "a"),
            proves(proof, SECRET, End.HOST, "a", "c"),
            proves(proof, OTHER, End.HOST, "a", "b"),
            proves("", SECRET, End.HOST, "a", "b"),
        ]
    )
    assert SECRET.hex() not in proof


@pytest.mark.parametrize("digits", ["0" * 63, "0" * 65, "G" * 64, "é" * 64, "0" * 10_000, " " + "0" * 63])
def test_a_proof_of_another_form_is_malformed(digits: str) -> None:
    with pytest.raises(MalformedMessage):
        decode(HelloProof, {"proof": digits})


def test_a_record_does_not_show_the_secret_when_it_is_printed() -> None:
    assert SECRET.hex() not in repr(SandboxRecord("id", None, None, 0, secret=SECRET.hex()))  # type: ignore[arg-type]


def port(tmp_path: Path, name: str = PORT_NAME) -> Path:
    """A machine's port: a FIFO, which holds what it is given until it is read."""
    (tmp_path / "ports/vport3p1").mkdir(parents=True)
    (tmp_path / "ports/vport3p1/name").write_text(f"{name}\n")
    os.mkfifo(tmp_path / "vport3p1")
    return tmp_path / "vport3p1"


def test_the_agent_reads_the_secret_and_leaves_none(tmp_path: Path) -> None:
    held = os.open(port(tmp_path), os.O_RDWR | os.O_NONBLOCK)
    os.write(held, SECRET)
    assert read_secret(tmp_path / "ports", tmp_path) == SECRET
    with pytest.raises(BlockingIOError):
        os.read(held, 1)
    os.close(held)


def test_the_agent_waits_for_a_host_that_has_not_connected_yet(tmp_path: Path) -> None:
    """Like a FIFO whose writer closes, a port without a host ends at once; and the secret may come in pieces."""
    path = port(tmp_path)

    def write() -> None:
        for piece in (b"", SECRET[:5], b"", SECRET[5:]):
            path.write_bytes(piece)

    writer = threading.Thread(target=write)
    writer.start()
    assert read_secret(tmp_path / "ports", tmp_path) == SECRET
    writer.join()


def test_a_machine_without_the_port_has_no_secret(tmp_path: Path) -> None:
    port(tmp_path, "org.qemu.guest_agent.0")
    assert read_secret(tmp_path / "ports", tmp_path) == b""
    assert read_secret(tmp_path / "missing", tmp_path) == b""


async def test_the_secret_is_offered_until_the_agent_has_answered(tmp_path: Path) -> None:
    taken = asyncio.Queue[bytes]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.put_nowait(await reader.readexactly(SECRET_BYTES))
        taken.put_nowait(await reader.read())
        writer.close()

    async with await asyncio.start_unix_server(take, str(tmp_path / "port")):
        async with secret_offered(SECRET, tmp_path / "port"):
            assert await taken.get() == SECRET
            assert taken.empty()
        assert await taken.get() == b""


async def test_a_machine_that_takes_no_secret_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not accept the machine's secret"):
        async with secret_offered(SECRET, tmp_path / "port"):
            pass

"""Output and input of containers: whole, in order, resumed, and never without bounds."""

import hashlib
import signal

import pytest

from tests.guest.client import CONTAINER, AgentRefused, Client, Wire
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import STREAM_CHUNK, pack_json
from vmsandbox.protocol.messages import (
    STREAM_PORT,
    DeleteContainer,
    Resize,
    SignalContainer,
    StartContainer,
    Stream,
    StreamToken,
)
from vmsandbox_agent.settings import OUTPUT_BUFFER

BURST = 16 * 1024 * 1024


async def start(client: Client, script: str, **more: bool) -> None:
    await client.create(script, **more)
    await client.call(StartContainer(CONTAINER))


async def test_output_comes_in_order(client: Client) -> None:
    await start(client, "seq 1 5000")
    expected = "".join(f"{number}\n" for number in range(1, 5001)).encode()
    assert await (await client.stream(Stream.STDOUT)).read_all() == expected


async def test_a_burst_arrives_whole_at_a_slow_reader(client: Client) -> None:
    await start(client, f"yes 0123456789abcde | head -c {BURST}")
    stdout = await client.stream(Stream.STDOUT)
    digest, size = hashlib.sha256(), 0
    while chunk := await stdout.chunk():
        assert len(chunk) <= STREAM_CHUNK
        digest.update(chunk)
        size += len(chunk)
        if size % (16 * 1024) < 4096 or size == BURST:  # acknowledges late and seldom
            await stdout.acknowledge()
        await stdout.acknowledge()
    assert size == BURST
    assert digest.digest() == hashlib.sha256(b"0123456789abcde\n" * (BURST // 16)).digest()
    assert (await client.exit()).exit_code == 0


async def test_without_acknowledgements_the_writer_blocks_and_nothing_is_lost(client: Client) -> None:
    size = 4 * OUTPUT_BUFFER
    await start(client, f"head -c {size} /dev/zero; echo end >&2")
    stdout = await client.stream(Stream.STDOUT)
    while stdout.position < OUTPUT_BUFFER:
        assert await stdout.chunk()
    assert stdout.position == OUTPUT_BUFFER
    assert client.events.empty()
    await stdout.acknowledge()
    rest = await stdout.read_all()
    assert stdout.position == size
    assert rest == bytes(size - OUTPUT_BUFFER)
    await client.exit()


async def test_output_before_anybody_listens_is_kept(client: Client) -> None:
    await start(client, "echo early")
    await client.exit()
    assert await (await client.stream(Stream.STDOUT)).read_all() == b"early\n"


async def test_output_is_resumed_at_an_offset_by_a_second_opening(client: Client) -> None:
    await start(client, "echo -n 0123456789; sleep 1000")
    first = await client.stream(Stream.STDOUT)
    await first.chunk()
    second = await client.stream(Stream.STDOUT, offset=4)
    assert await first.chunk() is None  # The second opening ended the first.
    assert await second.chunk() == b"456789"
    third = await client.stream(Stream.STDOUT, offset=4)
    assert await third.chunk() == b"456789"


@pytest.mark.parametrize("offset", [3, 11])
async def test_an_offset_that_is_not_held_is_refused(client: Client, offset: int) -> None:
    await start(client, "echo -n 0123456789; sleep 1000")
    stdout = await client.stream(Stream.STDOUT)
    await stdout.chunk()
    await client.stream(Stream.STDOUT, offset=4)
    with pytest.raises(AgentRefused, match=f"offset {offset} is not held, only 4 to 10 are") as refused:
        await client.stream(Stream.STDOUT, offset=offset)
    assert refused.value.code == "invalid_argument"


async def test_an_acknowledgement_of_what_was_not_sent_ends_the_stream(client: Client) -> None:
    await start(client, "echo -n 0123456789; sleep 1000")
    stdout = await client.stream(Stream.STDOUT)
    await stdout.chunk()
    await stdout.acknowledge(11)
    assert await stdout.chunk() is None
    again = await client.stream(Stream.STDOUT)
    assert await again.chunk() == b"0123456789"


async def test_stdin_is_acknowledged_and_half_closed(client: Client) -> None:
    await start(client, "cat; echo done", stdin=True)
    stdin, stdout = await client.stream(Stream.STDIN), await client.stream(Stream.STDOUT)
    assert await stdin.acknowledged() == 0
    await stdin.write(b"hello ")
    assert await stdin.acknowledged() == 6
    await stdin.write(b"world\n")
    assert await stdin.acknowledged() == 12
    await stdin.write(b"")
    assert await stdout.read_all() == b"hello world\ndone\n"
    with pytest.raises(AgentRefused, match="standard input is closed"):
        await client.stream(Stream.STDIN)


async def test_stdin_that_nobody_reads_is_not_acknowledged_beyond_the_pipe(client: Client) -> None:
    await start(client, "read line; head -c 1000000 | wc -c", stdin=True)
    stdin, stdout = await client.stream(Stream.STDIN), await client.stream(Stream.STDOUT)
    assert await stdin.acknowledged() == 0
    await stdin.write(b"line\n")
    for _ in range(1_000_000 // 10_000):
        await stdin.write(b"x" * 10_000)
    assert await stdout.read_all() == b"1000000\n"


async def test_stdin_continues_on_a_second_connection(client: Client) -> None:
    await start(client, "cat", stdin=True)
    first, stdout = await client.stream(Stream.STDIN), await client.stream(Stream.STDOUT)
    await first.acknowledged()
    await first.write(b"one ")
    assert await first.acknowledged() == 4
    await first.close()
    second = await client.stream(Stream.STDIN)
    assert await second.acknowledged() == 4
    await second.write(b"two")
    await second.write(b"")
    assert await stdout.read_all() == b"one two"


async def test_stdin_of_a_process_that_ended_is_ended(client: Client) -> None:
    await start(client, "exec <&-; sleep 1000", stdin=True)
    stdin = await client.stream(Stream.STDIN)
    assert await stdin.acknowledged() == 0
    await client.call(SignalContainer(CONTAINER, signal.SIGKILL))
    assert await stdin.acknowledged() is None


async def test_a_container_without_stdin_reads_nothing(client: Client) -> None:
    await start(client, "cat; echo end")
    assert await (await client.stream(Stream.STDOUT)).read_all() == b"end\n"
    with pytest.raises(AgentRefused, match="the process has no stdin"):
        await client.stream(Stream.STDIN)


async def test_a_terminal_echoes_and_knows_its_size(client: Client) -> None:
    await start(client, "echo ready; read x; stty size; test -t 0 && test -t 2 && echo tty", tty=True, stdin=True)
    stdin, stdout = await client.stream(Stream.STDIN), await client.stream(Stream.STDOUT)
    await stdout.read_until(b"ready\r\n")
    await client.call(Resize(CONTAINER, columns=132, rows=50))
    await stdin.write(b"go\n")
    assert await stdout.read_all() == b"go\r\n50 132\r\ntty\r\n"
    with pytest.raises(AgentRefused, match="the process has no stderr"):
        await client.stream(Stream.STDERR)
    assert (await client.exit()).exit_code == 0


async def test_control_c_on_a_terminal_interrupts(client: Client) -> None:
    await start(client, "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.01; done", tty=True, stdin=True)
    stdin, stdout = await client.stream(Stream.STDIN), await client.stream(Stream.STDOUT)
    await stdout.read_until(b"ready\r\n")
    await stdin.write(b"\x03")
    assert b"int\r\n" in await stdout.read_all()
    assert (await client.exit()).exit_code == 9


async def test_resizing_without_a_terminal_is_refused(client: Client) -> None:
    await start(client, "sleep 1000")
    with pytest.raises(AgentRefused, match="no terminal"):
        await client.call(Resize(CONTAINER, 80, 24))


async def test_a_token_opens_one_stream_only(client: Client) -> None:
    await start(client, "echo -n x; sleep 1000")
    stdout = await client.stream(Stream.STDOUT)
    assert await stdout.chunk() == b"x"
    wire = await Wire.dial(client.directory, STREAM_PORT)
    await wire.send(pack_json(encode(StreamToken("0" * 32))))
    assert await wire.frame() is None
    await wire.close()


async def test_the_streams_of_a_deleted_container_end(client: Client) -> None:
    await start(client, "echo -n x; sleep 1000")
    stdout = await client.stream(Stream.STDOUT)
    assert await stdout.chunk() == b"x"
    await client.call(DeleteContainer(CONTAINER))
    assert await stdout.chunk() == b""

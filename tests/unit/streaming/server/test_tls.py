"""The streaming server with a certificate."""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fakes.streaming import LocalTargets
from tests.support.streaming import PATTERN, exec_of, run, sent_away, wanted_of
from tests.support.waiting import until
from vmsandbox.config import StreamingConfig
from vmsandbox.errors import FailedPrecondition, Unavailable
from vmsandbox.streaming import client
from vmsandbox.streaming.client import client_tls
from vmsandbox.streaming.server import StreamingServer


def certificate(directory: Path) -> StreamingConfig:
    """A self-signed certificate for 127.0.0.1, and the configuration that uses it."""
    key, pem = directory / "key.pem", directory / "certificate.pem"
    form = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    form += [
        "-keyout",
        str(key),
        "-out",
        str(pem),
        "-days",
        "1",
        "-subj",
        "/CN=x",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run(form, check=True, capture_output=True)
    return StreamingConfig(tls_certificate=pem, tls_key=key)


async def test_with_a_certificate_it_speaks_tls_alone(targets: LocalTargets, tmp_path: Path) -> None:
    config = certificate(tmp_path)
    async with StreamingServer(targets, config, head_timeout=2).running() as streaming:
        request = exec_of("cat", stdin=True)
        url = streaming.exec_url(request)
        assert url.startswith("https://127.0.0.1:")
        assert await run(streaming, request, PATTERN, tls=client_tls(config)) == (PATTERN, b"", 0)
        with pytest.raises(Unavailable):
            async with client.command(streaming.exec_url(request), wanted_of(request)):
                pass
        with pytest.raises(Unavailable):
            async with client.command(url.replace("https", "http"), wanted_of(request)):
                pass


async def test_our_client_trusts_the_servers_own_certificate_alone(targets: LocalTargets, tmp_path: Path) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    config, stranger = certificate(own), certificate(other)
    assert client_tls(StreamingConfig()) is None
    async with StreamingServer(targets, config).running() as streaming:
        request = exec_of("true")
        url = streaming.exec_url(request)
        with pytest.raises(Unavailable):
            async with client.command(url, wanted_of(request), client_tls(stranger)):
                pass
        async with client.command(url, wanted_of(request), client_tls(config)) as command:
            assert [output async for output in command.output()] == []
    with pytest.raises(FailedPrecondition):
        client_tls(StreamingConfig(tls_certificate=tmp_path / "none", tls_key=tmp_path / "none"))


@contextlib.asynccontextmanager
async def secured(targets: LocalTargets, directory: Path, most_strangers: int) -> AsyncIterator[tuple[str, int]]:
    """A server with TLS; yields where it listens."""
    server = StreamingServer(targets, certificate(directory), most_strangers=most_strangers)
    async with server.running() as streaming:
        host, port = streaming.exec_url(exec_of("true")).split("/")[2].split(":")
        yield host, int(port)


async def test_strangers_who_shake_no_hands_push_each_other_out_as_others_do(
    targets: LocalTargets, tmp_path: Path
) -> None:
    async with secured(targets, tmp_path, most_strangers=3) as address:
        with contextlib.ExitStack() as stack:
            strangers = [stack.enter_context(socket.create_connection(address)) for _ in range(20)]
            await until(lambda: sum(map(sent_away, strangers)) == 17)


async def test_who_shook_hands_and_answers_nothing_more_is_sent_away_at_once(
    targets: LocalTargets, tmp_path: Path
) -> None:
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    async with secured(targets, tmp_path, most_strangers=1) as address:
        with (
            socket.create_connection(address) as silent,
            socket.socket(fileno=os.dup(silent.fileno())) as twin,
            await asyncio.to_thread(trusting.wrap_socket, twin),
            socket.create_connection(address),
        ):
            await until(lambda: sent_away(silent))


async def test_over_tls_too_a_client_that_takes_nothing_is_closed_on(targets: LocalTargets, tmp_path: Path) -> None:
    config, complaints = certificate(tmp_path), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with StreamingServer(targets, config).running() as streaming:
        request = exec_of("yes")
        context = client.command(streaming.exec_url(request), wanted_of(request), client_tls(config))
        command = await context.__aenter__()
        assert await anext(command.output())
    await until(lambda: targets.ended == 1)
    await context.__aexit__(None, None, None)
    assert not complaints


async def test_the_end_of_the_server_is_that_of_clients_who_shake_hands(targets: LocalTargets, tmp_path: Path) -> None:
    async with StreamingServer(targets, certificate(tmp_path)).running() as streaming:
        host, port = streaming.exec_url(exec_of("true")).split("/")[2].split(":")
        late = socket.create_connection((host, int(port)))
        await asyncio.sleep(0.1)  # It has been accepted.
    with late:
        await until(lambda: sent_away(late), 2)

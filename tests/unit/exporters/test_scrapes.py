"""The server of the metrics: TLS, and clients that misbehave."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.certificates import certificate
from tests.support.scraping import free_port, refusal, scrape
from vmsandbox.config import MetricsConfig, TlsConfig
from vmsandbox.errors import FailedPrecondition
from vmsandbox.exporters import scrapes
from vmsandbox.exporters.scrapes import ScrapeServer, check_address


async def rendered(accept: str) -> tuple[bytes, str]:
    return b"up 1\n", "text/plain; version=0.0.4"


@contextlib.asynccontextmanager
async def served(tls: TlsConfig | None = None) -> AsyncIterator[tuple[str, ScrapeServer]]:
    address = f"127.0.0.1:{free_port()}"
    server = ScrapeServer(MetricsConfig(address, tls or TlsConfig()), rendered)
    async with server.running():
        yield address, server


async def test_metrics_are_at_their_path_alone() -> None:
    async with served() as (address, _):
        assert await asyncio.to_thread(scrape, f"http://{address}/metrics") == "up 1\n"
        assert await refusal(f"http://{address}/") == 404


async def test_with_a_certificate_it_speaks_tls_alone(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path, "server")
    async with served(TlsConfig(pem, key)) as (address, _):
        trusting = ssl.create_default_context(cafile=pem)
        assert await asyncio.to_thread(scrape, f"https://{address}/metrics", trusting) == "up 1\n"
        assert await refusal(f"http://{address}/metrics") == -1


async def test_clients_show_a_certificate_of_the_configured_authority(tmp_path: Path) -> None:
    authority, _ = certificate(tmp_path, "authority")
    pem, key = certificate(tmp_path, "server", "authority")
    async with served(TlsConfig(pem, key, authority)) as (address, _):
        trusting = ssl.create_default_context(cafile=authority)
        assert await refusal(f"https://{address}/metrics", trusting) == -1
        trusting.load_cert_chain(*certificate(tmp_path, "stranger"))
        assert await refusal(f"https://{address}/metrics", trusting) == -1
        known = ssl.create_default_context(cafile=authority)
        known.load_cert_chain(*certificate(tmp_path, "prometheus", "authority"))
        assert await asyncio.to_thread(scrape, f"https://{address}/metrics", known) == "up 1\n"


async def test_a_certificate_that_is_renewed_is_used_and_a_bad_one_is_not(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path, "server")
    async with served(TlsConfig(pem, key)) as (address, server):
        certificate(tmp_path, "server")
        trusting = ssl.create_default_context(cafile=pem)
        assert await refusal(f"https://{address}/metrics", trusting) == -1
        server.renew_certificate()
        assert await refusal(f"https://{address}/metrics", trusting) == 200
        key.write_text("")
        with pytest.raises(FailedPrecondition, match="cannot be used"):
            server.renew_certificate()
        assert await refusal(f"https://{address}/metrics", trusting) == 200


async def test_a_port_that_is_taken_is_told_with_the_command_that_says_by_whom() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = MetricsConfig(f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(FailedPrecondition, match="cannot be listened on: Address already in use") as caught:
            check_address(config)
        assert "ss -ltnp" in caught.value.hint
        with pytest.raises(FailedPrecondition, match="already in use"):
            async with ScrapeServer(config, rendered).running():
                pytest.fail("it listens")


async def test_clients_that_say_nothing_keep_no_scrape_away() -> None:
    async with served() as (address, _), contextlib.AsyncExitStack() as stack:
        host, port = address.split(":")
        for _ in range(40):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
        assert await refusal(f"http://{address}/metrics") == 200


async def test_a_client_that_says_nothing_is_closed_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrapes, "_DEADLINE", 0.1)
    async with served() as (address, _):
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


@pytest.mark.parametrize("sent", [b"\x16\x03\x01\x02\x00\x01\n\n", b"GET /metrics HTTP/1.1\r\nA: " + b"x" * 40_000])
async def test_what_is_not_a_request_is_answered_with_an_error(sent: bytes) -> None:
    async with served() as (address, _):
        host, port = address.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 4")
        writer.close()

"""A Prometheus in miniature: scrapes, and reads what it gets with prometheus-client's own parser."""

import asyncio
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scrape(url: str, tls: ssl.SSLContext | None = None, accept: str = "") -> str:
    """The text behind a URL. Raises urllib.error.HTTPError, URLError."""
    request = urllib.request.Request(url, headers={"Accept": accept} if accept else {})
    with urllib.request.urlopen(request, timeout=15, context=tls) as response:
        return str(response.read().decode())


async def scraped(url: str, tls: ssl.SSLContext | None = None) -> Samples:
    return samples(await asyncio.to_thread(scrape, url, tls))


async def refusal(url: str, tls: ssl.SSLContext | None = None) -> int:
    """The status with which a server refuses; -1: it takes no connection, or not this one."""
    try:
        await asyncio.to_thread(scrape, url, tls)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return -1
    return 200


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    """The one sample that has these labels, whatever others it has; 0: there is none."""
    wanted: Mapping[str, str] = labels
    matching = [each for (key, has), each in found.items() if key == name and wanted.items() <= dict(has).items()]
    assert len(matching) <= 1, (name, labels, matching)
    return matching[0] if matching else 0.0

"""The secret of a machine: without it a client gets nowhere, and nothing in the machine or on the host tells it."""

import asyncio
import contextlib
import json
import re
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.conformance.test_processes import processes
from tests.support.conformance import Serving
from tests.support.conformance_client import Pod
from vmsandbox.guest.transport.connection import GuestConnection
from vmsandbox.protocol.codec import encode
from vmsandbox.protocol.framing import pack_json, parse_json
from vmsandbox.protocol.messages import CONTROL_PORT, VERSION, Envelope, Hello, HelloProof, Kind, ListContainers
from vmsandbox.protocol.secret import PORT_NAME

NONCE = "0" * 64


def directory(daemon: Serving, pod: Pod) -> Path:
    return daemon.directory / "run/serve/sandboxes" / pod.id


def secret_of(daemon: Serving, pod: Pod) -> str:
    (database,) = (daemon.directory / "state").rglob("state.db")
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = "SELECT body FROM record WHERE kind = 'sandbox' AND id = ?"
        (body,) = connection.execute(query, (pod.id,)).fetchone()
    found = json.loads(body)["secret"]
    assert re.fullmatch("[0-9a-f]{64}", found)
    return str(found)


@contextlib.asynccontextmanager
async def dialled(daemon: Serving, pod: Pod) -> AsyncIterator[GuestConnection]:
    """The agent's control port, as any process can dial it where the host's kernel has vhost_vsock."""
    reader, writer = await asyncio.open_unix_connection(str(directory(daemon, pod) / "vsock/vsock.sock"))
    writer.write(b"CONNECT %d\n" % CONTROL_PORT)
    assert (await reader.readline()).startswith(b"OK")
    connection = GuestConnection(reader, writer)
    yield connection
    await connection.aclose()


async def said(connection: GuestConnection, message: object) -> dict[str, object]:
    await connection.send(pack_json(encode(message)))
    answer = parse_json(await connection.receive() or b"")
    assert isinstance(answer, dict)
    return answer


async def test_a_controller_without_the_secret_gets_no_word_of_the_machine(daemon: Serving, pod: Pod) -> None:
    async with dialled(daemon, pod) as connection:
        answer = await said(connection, Hello((VERSION,), ""))
        assert (answer["kind"], "secret" in str(answer["body"])) == ("goodbye", True)
        assert await connection.receive() is None


@pytest.mark.parametrize("proof", ["", "0" * 64, "the agent's own"])
async def test_a_controller_with_another_proof_replaces_nobody(daemon: Serving, pod: Pod, proof: str) -> None:
    waiting = pod.start()
    async with dialled(daemon, pod) as connection:
        reply = await said(connection, Hello((VERSION,), "", nonce=NONCE))
        wrong = str(reply["proof"]) if proof == "the agent's own" else proof
        answer = await said(connection, HelloProof(wrong))
        assert (answer["kind"], "secret" in str(answer["body"])) == ("goodbye", True)
        assert await connection.receive() is None
    assert waiting.output("echo", "here") == "here\n"
    waiting.remove()


async def test_a_request_in_the_place_of_a_proof_is_not_carried_out(daemon: Serving, pod: Pod) -> None:
    async with dialled(daemon, pod) as connection:
        await said(connection, Hello((VERSION,), "", nonce=NONCE))
        request = Envelope(Kind.REQUEST, 1, ListContainers.METHOD, {}, 5)
        assert (await said(connection, request))["kind"] == "goodbye"


SEARCH = rf"""
for port in /sys/class/virtio-ports/*; do
    [ "$(cat $port/name 2>/dev/null)" = {PORT_NAME} ] && echo "port $(basename $port)"
done
mkdir -p /all; mount -t devtmpfs none /all 2>/dev/null
for device in /dev/vport* /all/vport*; do [ -e $device ] && timeout 2 cat $device; done
cat /proc/cmdline /proc/bootconfig /proc/1/environ 2>/dev/null
find /sys/firmware /sys/class/dmi/id/ -type f -size -70k 2>/dev/null | while read file; do timeout 2 cat "$file"; done
ls /sys/firmware/qemu_fw_cfg 2>/dev/null
grep -ra {{secret}} /run /tmp /etc /dev/shm 2>/dev/null
dmesg
"""


def test_a_privileged_container_finds_the_secret_nowhere(privileged_pod: Pod, daemon: Serving) -> None:
    known = secret_of(daemon, privileged_pod)
    container = privileged_pod.start(security={"privileged": True})
    script = SEARCH.replace("{secret}", known[:32])
    found = container.exec("sh", "-c", script, timeout=120).stdout
    container.remove()
    assert re.search(rb"^port vport\dp\d$", found, re.MULTILINE), "the port itself is there, and empty"
    assert bytes.fromhex(known) not in found and known.encode() not in found


def test_no_command_line_and_no_file_of_the_machine_on_the_host_has_the_secret(daemon: Serving, pod: Pod) -> None:
    secret = secret_of(daemon, pod)
    for process in [process for named in processes(daemon, pod).values() for process in named]:
        for name in ("cmdline", "environ"):
            text = Path(f"/proc/{process.pid}/{name}").read_bytes()
            assert secret.encode() not in text and bytes.fromhex(secret) not in text
    for path in directory(daemon, pod).rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes()
    assert secret not in daemon.log()

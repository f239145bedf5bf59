"""Machines of an embedded libvirt, with real QEMUs; most guests of these tests die before they have booted."""

import asyncio
import contextlib
import functools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.fakes.hypervisor_contract import HypervisorContract, Kill, NewSpec, Pause, SavingContract, next_event
from tests.support.libvirt import Workshop, embedded_uri, kill_qemu, qemu_pid, workshop
from vmsandbox import aio
from vmsandbox.errors import FailedPrecondition
from vmsandbox.guest.client import GuestClient
from vmsandbox.guest.clock import ClockKeeper
from vmsandbox.guest.session import Session
from vmsandbox.guest.session.secret import secret_offered
from vmsandbox.hypervisor import (
    Disk,
    MachineEvent,
    MachineSpec,
    MachineState,
    NetworkDevice,
    SharedDirectory,
    end_of,
)
from vmsandbox.hypervisor.console import ConsoleReader
from vmsandbox.hypervisor.libvirt import embedded
from vmsandbox.hypervisor.libvirt.bindings import libvirt
from vmsandbox.hypervisor.libvirt.connection import LibvirtConnection
from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor
from vmsandbox.node.file_server import PLACES
from vmsandbox.protocol.messages import ConfigureGuest, Event, Interface
from vmsandbox.protocol.secret import random_bytes

BOOT_DEADLINE = 120
MIB = 1024 * 1024
CHECKOUT = Path(__file__).parents[2]
GOLDEN = CHECKOUT / "tests/unit/golden/domain"


@pytest.fixture(scope="module")
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        yield made


@pytest.fixture
async def hypervisor(shop: Workshop) -> AsyncIterator[LibvirtHypervisor]:
    async with opened() as hypervisor:
        yield hypervisor


@contextlib.asynccontextmanager
async def opened() -> AsyncIterator[LibvirtHypervisor]:
    """The embedded libvirt, whose machines end with the context."""
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        try:
            yield hypervisor
        finally:
            for name in await hypervisor.list_names():
                await hypervisor.destroy(name)


class TestEmbeddedLibvirt(HypervisorContract):
    @pytest.fixture
    def kill(self) -> Kill:
        return kill_qemu

    @pytest.fixture
    def pause(self, hypervisor: LibvirtHypervisor) -> Pause:
        return functools.partial(pause, hypervisor)

    @pytest.fixture
    def new_spec(self, shop: Workshop) -> NewSpec:
        return shop.new_spec

    @pytest.fixture
    def directory(self, shop: Workshop) -> Path:
        return shop.directory

    async def test_a_disk_that_qemu_may_not_read_is_an_error(
        self, hypervisor: LibvirtHypervisor, machine: MachineSpec, disk: Disk
    ) -> None:
        disk.path.chmod(0o600)
        with pytest.raises(FailedPrecondition, match="Permission denied"):
            await hypervisor.attach_disk(machine.name, disk)
        disk.path.chmod(0o644)
        await hypervisor.attach_disk(machine.name, disk)


class TestEmbeddedSaving(SavingContract):
    @pytest.fixture
    def directory(self, shop: Workshop) -> Path:
        return shop.directory

    @pytest.fixture
    def booted_spec(self, shop: Workshop, hypervisor: LibvirtHypervisor, tap: str) -> NewSpec:
        self.shop, self.hypervisor, self.boot_ids = shop, hypervisor, set[str]()
        networks = iter([True, True])  # The template's is not plugged in, and there is one tap.

        async def make() -> MachineSpec:
            spec = await full_spec(shop, tap)
            assert spec.share is not None and spec.scratch is not None
            subprocess.run(["mkfs.ext4", "-q", spec.scratch.path], check=True)
            share = replace(spec.share, server=next(place for place in PLACES if place.exists()))
            network = spec.network if next(networks, False) else None
            return replace(spec, secret=spec.console.with_name("secret.sock"), share=share, network=network)

        return make

    async def answers(self, spec: MachineSpec) -> None:
        """The guest is found by its vsock device, and uses the network, share and scratch disk that were plugged in."""
        network = spec.network
        interfaces = (Interface("eth0", network.mac, network.mtu),) if network is not None else ()
        secret, way = random_bytes(), self.shop.ways[spec.name]
        assert spec.secret is not None
        async with (
            Session(way, spec.name, _ignore, secret=secret) as session,
            end_of(self.hypervisor.events(), spec.name) as ended,
            secret_offered(secret, spec.secret),
        ):
            peer = await aio.unless(session.connect(BOOT_DEADLINE), ended)
            await GuestClient(session).configure(
                ConfigureGuest(
                    "web", time.time_ns(), interfaces, share_tag="vmsandbox", scratch_serial="vmsandbox-scratch"
                )
            )
        assert peer.boot_id not in self.boot_ids
        self.boot_ids.add(peer.boot_id)


async def answer(hypervisor: LibvirtHypervisor, shop: Workshop, spec: MachineSpec) -> str:
    """The release of a guest's kernel, when its agent answers. Raises Unavailable as soon as its machine ends."""
    async with (
        Session(shop.ways[spec.name], spec.name, _ignore) as session,
        end_of(hypervisor.events(), spec.name) as ended,
    ):
        assert await hypervisor.state(spec.name) is MachineState.RUNNING
        return (await aio.unless(session.connect(BOOT_DEADLINE), ended)).kernel


async def _ignore(_: Event) -> None:
    return


async def test_a_machine_with_everything_boots_and_qemu_has_no_rights(
    hypervisor: LibvirtHypervisor, shop: Workshop, tap: str
) -> None:
    spec, states = await full_spec(shop, tap), []

    async def look() -> None:
        states.extend(await hypervisor._connection.call("ask", lambda it: it.lookupByName(spec.name).state()[:1]))

    await hypervisor.create(spec, look)
    assert states == [libvirt.VIR_DOMAIN_PAUSED]
    async with ConsoleReader(spec.console) as console:
        assert await answer(hypervisor, shop, spec), console.last_lines(20)
        status = Path(f"/proc/{qemu_pid(spec.name)}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert set(fields["Uid"].split()) == {str(spec.account.uid)}
        assert set(fields["Gid"].split()) == {str(spec.account.gid)}
        assert int(fields["CapEff"], 16) == 0 and fields["Seccomp"] == "2" and fields["NoNewPrivs"] == "1"
        assert b"pcie-root-port" not in Path(f"/proc/{qemu_pid(spec.name)}/cmdline").read_bytes()
        rates = await hypervisor._connection.call(
            "ask", lambda opened: opened.lookupByName(spec.name).blockIoTune("sdb")
        )
        assert (rates["total_bytes_sec"], rates["total_iops_sec"]) == (200_000_000, 5000)
        for kind in ("mnt", "net", "ipc", "uts"):
            assert os.readlink(f"/proc/{qemu_pid(spec.name)}/ns/{kind}") != os.readlink(f"/proc/self/ns/{kind}")


async def test_files_keep_their_owners(hypervisor: LibvirtHypervisor, shop: Workshop, tap: str) -> None:
    spec = await full_spec(shop, tap)
    assert spec.scratch is not None
    files = (spec.image.kernel, spec.image.initramfs, spec.image.root, spec.scratch.path)
    before = [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files]
    await hypervisor.create(spec)
    assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files] == before
    await hypervisor.destroy(spec.name)
    assert [(path.stat().st_uid, path.stat().st_gid, path.stat().st_mode) for path in files] == before


async def test_the_memory_of_a_guest_is_in_what_its_machine_costs_also_where_virtiofsd_shares_it(
    hypervisor: LibvirtHypervisor, shop: Workshop, tap: str
) -> None:
    spec = await full_spec(shop, tap)
    await hypervisor.create(spec)
    before = await hypervisor.usage(spec.name)
    await answer(hypervisor, shop, spec)
    after = await hypervisor.usage(spec.name)
    status = Path(f"/proc/{qemu_pid(spec.name)}/status").read_text().splitlines()
    (shared,) = (int(line.split()[1]) * 1024 for line in status if line.startswith("RssShmem:"))
    assert shared > 32 * MIB, "it is no longer shared memory that the guest has"
    assert after.working_set > before.working_set + shared / 2
    assert shared < after.working_set < after.memory < spec.size.memory + 512 * MIB
    assert after.cpu > before.cpu + 100_000_000, "a boot takes CPU time"


async def test_the_clock_of_a_guest_that_was_paused_is_set_when_it_is_known_to_go_on(
    hypervisor: LibvirtHypervisor, shop: Workshop
) -> None:
    spec = await shop.new_spec()
    await hypervisor.create(spec)
    async with (
        Session(shop.ways[spec.name], spec.name, _ignore) as session,
        end_of(hypervisor.events(), spec.name) as ended,
    ):
        await aio.unless(session.connect(BOOT_DEADLINE), ended)
        client = GuestClient(session)
        keeper = ClockKeeper(client, spec.name)
        await keeper.check()
        resumed = hypervisor.resumed()
        await pause(hypervisor, spec.name, seconds=2)
        async with asyncio.timeout(5):
            assert await anext(resumed) == spec.name
        told = await keeper.check()
        assert told is not None and told.step and told.nanoseconds > 1_500_000_000
        assert abs((await keeper.compare()).behind) < 100_000_000


async def pause(hypervisor: LibvirtHypervisor, name: str, seconds: float = 0) -> None:
    """Stop a machine, and let it go on."""
    await hypervisor._connection.call("suspend", lambda opened: opened.lookupByName(name).suspend())
    await asyncio.sleep(seconds)
    await hypervisor._connection.call("resume", lambda opened: opened.lookupByName(name).resume())


async def test_a_machine_whose_qemu_hangs_is_measured_at_once(hypervisor: LibvirtHypervisor, shop: Workshop) -> None:
    spec = await shop.new_spec()
    await hypervisor.create(spec)
    pid = qemu_pid(spec.name)
    os.kill(pid, signal.SIGSTOP)
    try:
        async with asyncio.timeout(5):
            assert (await hypervisor.usage(spec.name)).memory > 0
    finally:
        os.kill(pid, signal.SIGCONT)


async def full_spec(shop: Workshop, tap: str) -> MachineSpec:
    spec = await shop.new_spec()
    directory = spec.console.parent
    scratch, share = directory / "scratch.img", directory / "share"
    with scratch.open("wb") as file:
        file.truncate(1 << 30)
    os.chown(scratch, spec.account.uid, 0)
    scratch.chmod(0o600)
    share.mkdir()
    return replace(
        spec,
        scratch=Disk("vmsandbox-scratch", scratch, readonly=False, bandwidth=200_000_000, iops=5000),
        share=SharedDirectory("vmsandbox", share),
        network=NetworkDevice(tap, "02:00:00:00:00:01", 1400, Path("/run/netns") / tap),
    )


@pytest.fixture
def tap() -> Iterator[str]:
    """In a network namespace of the same name, as a pod's is."""
    name = f"vmt{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "tuntap", "add", name, "mode", "tap", "vnet_hdr"], check=True)
    yield name
    subprocess.run(["ip", "netns", "delete", name], check=True)


async def test_a_machine_without_network_has_an_empty_one(hypervisor: LibvirtHypervisor, shop: Workshop) -> None:
    spec = await shop.new_spec()
    await hypervisor.create(spec)
    links = Path(f"/proc/{qemu_pid(spec.name)}/net/dev").read_text().splitlines()[2:]
    assert [link.split(":")[0].strip() for link in links] == ["lo"]


async def test_a_machine_of_a_network_that_is_gone_is_an_error(hypervisor: LibvirtHypervisor, shop: Workshop) -> None:
    network = NetworkDevice("tap", "02:00:00:00:00:01", 1400, Path("/run/netns/gone"))
    with pytest.raises(FailedPrecondition, match="/run/netns/gone"):
        await hypervisor.create(replace(await shop.new_spec(), network=network))


async def test_a_guest_that_panics_has_crashed_and_its_console_says_why(
    hypervisor: LibvirtHypervisor, shop: Workshop
) -> None:
    spec = await shop.new_spec()
    no_root = shop.directory / f"{spec.name}.img"
    no_root.write_bytes(bytes(1024 * 1024))
    spec = replace(spec, image=replace(spec.image, root=no_root))
    events = hypervisor.events()
    await hypervisor.create(spec)
    async with ConsoleReader(spec.console) as console:
        event = await next_event(events, within=60)
    assert (event.name, event.state, event.reason) == (spec.name, MachineState.CRASHED, "crashed (panicked)")
    mounting, panic = console.last_lines(2)
    assert "vmsandbox-init: cannot mount" in mounting and "Kernel panic - not syncing" in panic
    assert await hypervisor.state(spec.name) is not MachineState.RUNNING


async def test_a_console_without_end_is_kept_bounded_and_the_machine_can_be_ended(
    hypervisor: LibvirtHypervisor, shop: Workshop
) -> None:
    spec = replace(await shop.new_spec(), kernel_parameters="rdinit=/bin/busybox -- yes flood")
    await hypervisor.create(spec)
    async with ConsoleReader(spec.console) as console:
        async with asyncio.timeout(60):
            while console.last_lines(3) != ["flood"] * 3:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1)
        begin = time.process_time()
        await asyncio.sleep(1)
        assert time.process_time() - begin < 0.5, "reading it must not busy the host"
        assert len(console.last_lines(1_000_000)) < 20_000
        await hypervisor.destroy(spec.name)


async def test_a_machine_that_cannot_start_says_what_qemu_said(hypervisor: LibvirtHypervisor, shop: Workshop) -> None:
    spec = await shop.new_spec()
    broken = replace(spec, image=replace(spec.image, kernel=Path("/etc/hostname")))
    with pytest.raises(FailedPrecondition) as caught:
        await hypervisor.create(broken)
    assert "qemu" in caught.value.evidence["QEMU"].lower()
    assert await hypervisor.state(spec.name) is MachineState.GONE


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("p[or]*.xml")), ids=lambda path: path.stem)
async def test_libvirt_takes_every_golden_domain_and_its_schema_does(golden: Path) -> None:
    async with LibvirtConnection.opened(embedded_uri(), lambda _: []) as connection:

        def define(opened: Any) -> None:
            opened.defineXMLFlags(golden.read_text(), libvirt.VIR_DOMAIN_DEFINE_VALIDATE).undefine()

        await connection.call("libvirt does not take the domain", define)


async def test_a_machines_log_is_cut_and_goes_on(hypervisor: LibvirtHypervisor, shop: Workshop, tap: str) -> None:
    spec = await full_spec(shop, tap)
    await hypervisor.create(spec)
    root = Path(parse_qs(urlsplit(embedded_uri()).query)["root"][0])
    log = root / f"log/qemu/{spec.name}.log"
    with log.open("ab") as file:
        file.write(b"x" * (embedded.LOG_LIMIT + 1))
    embedded.cut_logs(root)
    assert log.stat().st_size == 0
    await hypervisor.destroy(spec.name)
    assert "terminating on signal" in log.read_text()[:200]


async def test_a_process_has_one_embedded_libvirt(hypervisor: LibvirtHypervisor, tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="cannot have one at"):
        async with LibvirtHypervisor.open(f"qemu:///embed?root={tmp_path}/libvirt"):
            pass


async def test_machines_go_on_without_the_connection(shop: Workshop) -> None:
    spec = await shop.new_spec()
    async with LibvirtHypervisor.open(embedded_uri()) as hypervisor:
        await hypervisor.create(spec)
    async with opened() as hypervisor:
        assert spec.name in await hypervisor.list_names()
        events = hypervisor.events()
        kill_qemu(spec.name)
        assert (await next_event(events)).name == spec.name


CREATE_AND_DIE = textwrap.dedent(
    """
    import asyncio, os, pickle, signal, sys
    from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor

    async def main():
        async with LibvirtHypervisor.open(sys.argv[1]) as hypervisor:
            await hypervisor.create(pickle.loads(sys.stdin.buffer.read()))
            os.kill(os.getpid(), signal.SIGKILL)

    asyncio.run(main())
    """
)

FIND_AND_END = textwrap.dedent(
    """
    import asyncio, sys
    from vmsandbox.hypervisor.libvirt.hypervisor import LibvirtHypervisor

    async def main():
        async with LibvirtHypervisor.open(sys.argv[1]) as hypervisor:
            events = hypervisor.events()
            for name in await hypervisor.list_names():
                await hypervisor.destroy(name)
                print(await anext(events))

    asyncio.run(main())
    """
)


async def test_the_machines_of_a_killed_process_are_found_and_ended(hypervisor: LibvirtHypervisor) -> None:
    """In processes of their own, as each process has but one embedded libvirt; this one reaps what they leave."""
    with workshop() as shop:
        uri = f"qemu:///embed?root={shop.directory}/libvirt"
        spec = await shop.new_spec()
        killed = await python(CREATE_AND_DIE, uri, stdin=pickle.dumps(spec))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert qemu_pid(spec.name)
        ended = await python(FIND_AND_END, uri)
        assert ended.stdout.splitlines() == [str(MachineEvent(spec.name, MachineState.STOPPED, "destroyed"))]
        assert ended.stderr == ""


async def python(source: str, uri: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", source, uri]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BOOT_DEADLINE):
            out, err = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return subprocess.CompletedProcess(command, process.returncode or 0, out.decode(), err.decode())

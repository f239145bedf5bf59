"""Every message of the protocol as it stands on the wire: golden frames that a second agent can be tested with."""

import json
from dataclasses import fields
from pathlib import Path

import pytest

from tests.fakes.measures import measures
from tests.support.golden import assert_golden
from vmsandbox.protocol import messages as m
from vmsandbox.protocol.codec import MalformedMessage, decode, encode
from vmsandbox.protocol.framing import FrameReader, pack_json, parse_json
from vmsandbox_agent.control.requests import GuestRequests
from vmsandbox_agent.reaper import Reaper
from vmsandbox_agent.settings import Settings

GOLDEN = Path("tests/unit/golden/protocol")

REQUESTS: dict[str, m.Request] = {
    "configure_guest": m.ConfigureGuest(
        hostname="web-0",
        clock=1_700_000_000_000_000_000,
        interfaces=(
            m.Interface(
                name="eth0",
                mac="52:54:00:12:34:56",
                mtu=1450,
                addresses=("10.1.2.3/24", "fd00::3/64"),
                routes=(m.Route("10.9.0.0/16"), m.Route("0.0.0.0/0", "10.1.2.1")),
            ),
        ),
        dns=m.Dns(("10.0.0.10",), ("default.svc.cluster.local",), ("ndots:5",)),
        hosts="127.0.0.1\tlocalhost\n",
        sysctls={"net.core.somaxconn": "1024"},
        share_tag="share",
        scratch_serial="scratch-1",
        shm_size=1048576,
        user_namespace=m.UserNamespaceMapping(65536, 65536, 131072, 65536),
        debug=True,
        waits=True,
        card="02:00:00:00:00:01",
    ),
    "read_clock": m.ReadClock(),
    "adjust_clock": m.AdjustClock(-1_500_000_000, step=True),
    "use_processors": m.UseProcessors(4),
    "make_tmpfs": m.MakeTmpfs("cache", 1048576, 0o750, 1000, "a/b"),
    "write_volume": m.WriteVolume(
        "synced.0123",
        "..2026_01_01_00_00_00.1",
        (
            m.VolumeEntry("", 0o755, modified=1_700_000_000_000_000_000),
            m.VolumeEntry("key", 0o640, 1000, 1001, 1_700_000_000_000_000_000, "dmFsdWU="),
        ),
        make=True,
        size=4194304,
        mode=0o775,
        gid=1001,
    ),
    "attach_image": m.AttachImage("sha-0123", "erofs"),
    "detach_image": m.DetachImage("sha-0123"),
    "release_disk": m.ReleaseDisk("0123abcd"),
    "create_container": m.CreateContainer(
        "c1",
        "sha-0123",
        {"ociVersion": "1.0.2", "process": {"args": ["sh"]}},
        m.User("web:33", "34", (5, 6), merge_image_groups=False),
        stdin=True,
        tty=True,
        pid_namespace=m.POD_NAMESPACE,
        devices=(
            m.GuestDevice("/dev/fuse", "/dev/fuse", "rw"),
            m.GuestDevice("/dev/xvda", permissions="mr", disk="0123abcd", mode=0o640, uid=1001, gid=6),
        ),
        all_devices=True,
        cpus="2,3",
        root="/run/vmsandbox/share/0123abcd",
    ),
    "start_container": m.StartContainer("c1"),
    "signal_container": m.SignalContainer("c1", 15, everyone=True),
    "delete_container": m.DeleteContainer("c1"),
    "update_resources": m.UpdateResources("c1", {"memory": {"limit": 33554432}}, "0-3,7"),
    "freeze_container": m.FreezeContainer("c1", frozen=False),
    "list_processes": m.ListProcesses("c1"),
    "exec": m.Exec("c1", "e1", {"args": ["ls"], "cwd": "/"}, m.User("0"), stdin=True, tty=True),
    "signal_exec": m.SignalExec("c1", "e1", 9),
    "end_execs": m.EndExecs(),
    "resize": m.Resize("c1", 132, 50, "e1"),
    "open_stream": m.OpenStream("c1", m.Stream.STDOUT, "e1", 4096),
    "open_port": m.OpenPort(8080),
    "list_containers": m.ListContainers(),
    "measure_containers": m.MeasureContainers(averages=True),
    "fit_machine": m.FitMachine(268435456),
    "shutdown": m.Shutdown(),
}

OTHERS = {
    "hello": m.Hello((1, 2, 3), "0123456789abcdef", 7),
    "hello_reply": m.HelloReply(1, "0123456789abcdef", "4b2f1c1e-0000-4000-8000-000000000000", "6.12.0", 9.5, 7.25),
    "hello_reply_with_features": m.HelloReply(3, "b", "4b2f", "6.12.0", 9.5, 7.25, features=("exec", "read_clock")),
    "hello_with_nonce": m.Hello((1,), "0123456789abcdef", nonce="00" * 32),
    "hello_reply_with_proof": m.HelloReply(1, "b", "4b2f", "6.12.0", 9.5, 7.25, "11" * 32, "22" * 32),
    "hello_proof": m.HelloProof("33" * 32),
    "stream_token": m.StreamToken("00112233445566778899aabbccddeeff"),
    "response_empty": m.Envelope(m.Kind.RESPONSE, 3, body=encode(m.Empty())),
    "response_created": m.Envelope(m.Kind.RESPONSE, 6, body=encode(m.Created(m.ProcessUser(33, 34, (34, 44))))),
    "response_stream_token": m.Envelope(m.Kind.RESPONSE, 4, body=encode(m.StreamToken("00112233"))),
    "response_containers": m.Envelope(
        m.Kind.RESPONSE, 5, body=encode(m.Containers((m.OciState("c1", "stopped", 42, 137),)))
    ),
    "response_measured": m.Envelope(
        m.Kind.RESPONSE, 7, body=encode(m.Measured(1_700_000_000_000_000_000, (measures("c1"),)))
    ),
    "response_listed_processes": m.Envelope(
        m.Kind.RESPONSE, 8, body=encode(m.ListedProcesses((m.ListedProcess(7, 1, 33, 1_700, 20_000, "sleep 9"),)))
    ),
    "response_clock": m.Envelope(m.Kind.RESPONSE, 4, body=encode(m.Clock(1_700_000_000_000_000_000))),
    "response_processors": m.Envelope(m.Kind.RESPONSE, 6, body=encode(m.Processors(4))),
    "error": m.Envelope(m.Kind.ERROR, 3, "not_found", "there is no container c1"),
    "cancel": m.Envelope(m.Kind.CANCEL, 3),
    "event_exit": m.Envelope(
        m.Kind.EVENT, 8, m.Exit.EVENT, encode(m.Exit("c1", 137, 1_700_000_000_000_000_000, "e1", True))
    ),
    "acknowledge": m.Envelope(m.Kind.ACKNOWLEDGE, 8),
    "goodbye": m.Envelope(m.Kind.GOODBYE, body="replaced by a newer controller"),
}


def request_envelope(request: m.Request) -> m.Envelope:
    return m.Envelope(m.Kind.REQUEST, 3, request.METHOD, encode(request), 30.0)


MESSAGES = {**OTHERS, **{f"request_{name}": request_envelope(request) for name, request in REQUESTS.items()}}


def hexdump(frame: bytes) -> str:
    """The length field in hexadecimal, then the JSON as it is sent."""
    return f"{frame[:4].hex(' ')}\n{frame[4:].decode()}\n"


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_this_frame(name: str) -> None:
    assert_golden(GOLDEN / f"{name}.frame", hexdump(pack_json(encode(MESSAGES[name]))))


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_survives_the_wire(name: str) -> None:
    message = MESSAGES[name]
    (payload,) = FrameReader().feed(pack_json(encode(message)))
    assert decode(type(message), parse_json(payload)) == message


@pytest.mark.parametrize("method", m.REQUESTS)
def test_a_request_is_found_by_its_method(method: str) -> None:
    request = REQUESTS[method]
    assert m.REQUESTS[method] is type(request)
    assert decode(m.REQUESTS[method], json.loads(json.dumps(encode(request)))) == request


def test_there_is_a_golden_frame_for_every_request_and_no_other() -> None:
    assert REQUESTS.keys() == m.REQUESTS.keys()
    directory = Path(__file__).parents[3] / GOLDEN
    assert {path.stem for path in directory.iterdir()} == set(MESSAGES)


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_golden_requests_use_every_field(request_: m.Request) -> None:
    assert encode(request_).keys() == {field.name for field in fields(request_)}


def test_the_agent_handles_every_request(tmp_path: Path) -> None:
    guest = GuestRequests(Settings(state=tmp_path), Reaper(), lambda: None)
    assert guest.handlers.keys() == m.REQUESTS.keys()


@pytest.mark.parametrize(
    "result", [m.Containers((m.OciState("c1", "running"),) * 256), m.Measured(1, (measures("c1"),) * 256)]
)
def test_more_containers_than_a_guest_can_have_are_malformed(result: m.Containers | m.Measured) -> None:
    data = encode(result)
    assert decode(type(result), data) == result
    data["containers"].append(data["containers"][0])
    with pytest.raises(MalformedMessage, match=r"\.containers: not within AtMost\(items=256\)"):
        decode(type(result), data)

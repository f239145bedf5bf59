"""skopeo, which parses what registries and archives send: what it may do, and what one that was taken over can do."""

import asyncio
import json
import os
import ssl
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.builder import ACCOUNT
from tests.support.images import build_image, write_layout
from tests.support.layers import file, layer_tar
from tests.support.passable import passable_directory
from tests.support.processes import Privileges, privileges, table
from tests.support.registry import Registry
from tests.support.stalling import stalling
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import FailedPrecondition, Internal, InvalidArgument, NotFound, Unavailable, VmsandboxError
from vmsandbox.images.image_store import ImageStore
from vmsandbox.images.skopeo.hostfiles import HostFiles

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a program is given another user by root")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's, which is closed: skopeo's user has to pass through it."""
    with passable_directory() as path:
        yield path


def roots_alone(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


async def opened(tmp_path: Path, *addresses: str) -> ImageStore:
    """A store whose configuration root alone may read."""
    registries = "".join(f'[[registry]]\nlocation = "{each}"\ninsecure = true\n' for each in addresses)
    settings = ImagesConfig(
        registries_conf=roots_alone(tmp_path / "registries.conf", registries),
        policy=roots_alone(tmp_path / "policy.json", json.dumps({"default": [{"type": "insecureAcceptAnything"}]})),
    )
    return await ImageStore.open(tmp_path / "store", settings)


def running_skopeo(registry: str) -> Privileges:
    """Return the rights of the skopeo that fetches layers from a registry; other tests' may run beside it."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found, command = privileges(int(path.name)), (path / "cmdline").read_text()
        except OSError:
            continue  # it has ended
        if found.name == "skopeo" and registry in command and "copy" in command.split("\0"):
            return found
    raise AssertionError(f"no skopeo copies from {registry}")


async def test_skopeo_is_an_unprivileged_user_with_limits_and_no_capabilities(
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build_image([{"watched": os.urandom(3_000_000)}])
    registry.push("watched", built)
    with stalling(registry.address, 1_000_000) as slow:
        store = await opened(tmp_path, slow.address)
        pull = asyncio.create_task(store.pull(f"{slow.address}/watched"))
        await asyncio.to_thread(slow.stalled.wait)
        found = running_skopeo(slow.address)
        (auth,) = store.directory.glob("staging/*/auth.json")
        assert (auth.stat().st_uid, stat.S_IMODE(auth.stat().st_mode)) == (ACCOUNT.uid, 0o400)
        slow.go_on.set()
        assert (await pull).id == built.config
    with capsys.disabled():
        sys.stdout.write(f"\n{table([found])}\n")
    assert (found.users, found.groups) == ({ACCOUNT.uid}, {ACCOUNT.gid})
    assert found.capabilities == () and found.no_new_privs
    assert {"ipc", "mnt", "pid", "uts"} <= set(found.apart) and "net" not in found.apart
    assert found.oom_score == 500
    assert found.limits["Max data size"] == str(2 << 30) and found.limits["Max file size"] == str(16 << 20)
    assert found.limits["Max core file size"] == "0"


async def test_what_the_store_keeps_is_roots(registry: Registry, tmp_path: Path) -> None:
    store = await opened(tmp_path, registry.address)
    await store.pull(registry.push("owned", build_image([{"owned": b"o"}, {"by": b"root"}])))
    kept = [path.stat() for path in (store.directory / "blobs").rglob("*") if path.is_file()]
    assert len(kept) == 4
    assert {(each.st_uid, each.st_gid, stat.S_IMODE(each.st_mode), each.st_nlink) for each in kept} == {
        (0, 0, 0o600, 1)
    }


async def test_an_archive_that_root_alone_may_read_is_loaded(tmp_path: Path) -> None:
    store = await opened(tmp_path)
    layout, archive = write_layout(tmp_path / "layout", {"a": build_image([{"a": b"a"}])}), tmp_path / "x:y.tar"
    made = tmp_path / "made.tar"
    source, target = f"oci:{layout}:a", f"docker-archive:{made}:localhost/a:1"
    subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", source, target], check=True)
    made.rename(archive).chmod(0o600)
    (image,) = await store.load(archive)
    assert image.repo_tags == ("localhost/a:1",)
    assert archive.exists()


HOSTILE = """\
#!/usr/bin/python3
import json, os, subprocess, sys
arguments = sys.argv[1:]
if "inspect" in arguments:
    kind = "config" if "--config" in arguments else "manifest"
    sys.stdout.buffer.write(open(os.path.join({answers!r}, kind), "rb").read())
    sys.exit()
(blobs,) = [each.partition("=")[2] for each in arguments if each.startswith("--dest-shared-blob-dir=")]
layer = os.path.join(blobs, "sha256", {layer!r})
content = open(os.path.join({answers!r}, "layer"), "rb").read()
"""


def take_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str, content: bytes = b"content"
) -> tuple[str, bytes]:
    """Put a skopeo that does something else in its fetching of a layer before the real one; an image, and its layer."""
    built = build_image([content])
    (digest,) = built.layers
    answers = tmp_path / "answers"
    answers.mkdir()
    for name, data in {
        "manifest": built.manifest,
        "config": built.blobs[built.config],
        "layer": built.blobs[digest],
    }.items():
        (answers / name).write_bytes(data)
    for path in (answers, *answers.iterdir()):
        path.chmod(0o755)
    programs = tmp_path / "programs"
    programs.mkdir()
    text = HOSTILE.format(answers=str(answers), layer=digest.removeprefix("sha256:")) + textwrap.dedent(behaviour)
    (programs / "skopeo").write_text(text)
    for path in (programs, programs / "skopeo"):
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return digest.removeprefix("sha256:"), built.blobs[digest]


def kept(store: ImageStore) -> list[str]:
    return [path.name for path in (store.directory / "blobs/sha256").iterdir()]


@pytest.mark.parametrize(
    "behaviour",
    [
        "open(layer, 'wb').write(content[:-1] + b'?')",
        "os.symlink(os.path.join(os.path.dirname(sys.argv[0]), '../answers/layer'), layer)",
        "os.mkfifo(layer)",
        "os.mkdir(layer)",
        "pass",
        "open(layer, 'wb').truncate(1 << 23)",
    ],
    ids=["other content", "a link", "a FIFO", "a directory", "nothing", "another size"],
)
async def test_what_is_not_the_layer_does_not_enter_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    take_over(tmp_path, monkeypatch, behaviour)
    store = await opened(tmp_path)
    async with asyncio.timeout(20):
        with pytest.raises((Internal, InvalidArgument)):
            await store.pull("127.0.0.1:1/hostile:1")
    assert kept(store) == []
    assert list((store.directory / "staging").iterdir()) == []


async def test_a_layer_that_has_another_name_still_is_copied_into_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer, content = take_over(
        tmp_path, monkeypatch, "open(layer, 'wb').write(content); os.link(layer, os.path.join(blobs, 'sha256/mine'))"
    )
    store = await opened(tmp_path)
    with pytest.raises((Internal, InvalidArgument)):  # its bytes are no tar, which the builder says
        await store.pull("127.0.0.1:1/hostile:1")
    assert kept(store) == [] and content and layer


HOLDS_ON = """
import time
held = open(layer + "-", "wb", buffering=0)
held.write(content)
os.rename(layer + "-", layer)
first = os.fstat(held.fileno()).st_ino
def there():
    try:
        return os.stat(layer).st_ino
    except FileNotFoundError:
        return first
while there() == first:
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    "behaviour",
    [
        "held.seek(0); held.write(b'?')",
        "os.unlink(layer); open(layer, 'wb').write(content[:-1] + b'?')",
        "os.unlink(layer); os.mkdir(layer)",
    ],
    ids=["by its descriptor", "by its name", "by a directory"],
)
async def test_a_layer_that_was_taken_while_skopeo_runs_cannot_be_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behaviour: str
) -> None:
    """The store takes a layer as soon as it has its name, while skopeo would fetch the next one."""
    layer, content = take_over(tmp_path, monkeypatch, HOLDS_ON + behaviour, layer_tar([file("a")]))
    store = await opened(tmp_path)
    async with asyncio.timeout(60):
        await store.pull("127.0.0.1:1/hostile:1")
    assert (store.directory / "blobs/sha256" / layer).read_bytes() == content
    assert list((store.directory / "staging").iterdir()) == []


TRIES = """
def tried(work):
    try:
        return repr(work())
    except OSError as error:
        return error.strerror
staging = os.path.dirname(blobs)
tries = {
    "passwords": tried(lambda: open("/etc/shadow").read(1)),
    "list": tried(lambda: os.listdir(os.path.dirname(staging))),
    "index": tried(lambda: open(os.path.join(staging, "../../index.json"))),
    "blobs": tried(lambda: os.listdir(os.path.join(staging, "../../blobs"))),
    "replace": tried(lambda: os.rename(blobs, blobs + "-away")),
    "replace one": tried(lambda: os.rename(blobs + "/sha256", blobs + "/away")),
    "kill": tried(lambda: os.kill(%(pid)d, 0)),
    "memory": tried(lambda: open("/proc/%(pid)d/mem", "rb")),
    "mount": tried(lambda: subprocess.run(["mount", "-t", "tmpfs", "x", os.environ["HOME"]],
                                          capture_output=True).returncode),
    "others": [name for name in os.listdir("/proc") if name.isdecimal() and int(name) > 20],
    "home": os.environ["HOME"] == os.environ["XDG_RUNTIME_DIR"] == staging + "/home",
}
sys.exit(json.dumps(tries))
"""


async def test_a_skopeo_that_was_taken_over_reaches_nothing_of_the_host_or_of_another_pull(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the memory of another process of its user: the victim is one."""
    with subprocess.Popen(["setpriv", f"--reuid={ACCOUNT.uid}", "--clear-groups", "sleep", "60"]) as victim:
        take_over(tmp_path, monkeypatch, TRIES % {"pid": victim.pid})
        store = await opened(tmp_path)
        try:
            with pytest.raises(VmsandboxError) as caught:
                await store.pull("127.0.0.1:1/hostile:1")
        finally:
            victim.kill()
    refused, absent = "Permission denied", "No such file or directory"
    assert json.loads(caught.value.evidence["skopeo"]) == {
        "passwords": refused,
        "list": refused,
        "index": absent,  # of a store without an image
        "blobs": refused,
        "replace": refused,
        "replace one": refused,
        "kill": "No such process",
        "memory": absent,
        "mount": "32",  # as mount(8) says that it has failed
        "others": [],
        "home": True,
    }


async def test_what_it_starts_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = "61.2718"
    take_over(
        tmp_path, monkeypatch, f"subprocess.Popen(['setsid', 'sleep', '{marker}'], stdout=2); sys.exit('left alone')"
    )
    store = await opened(tmp_path)
    with pytest.raises(Internal):
        await store.pull("127.0.0.1:1/hostile:1")
    commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in commands if marker.encode() in command]


async def test_a_tree_deeper_than_python_can_remove_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = "os.chdir(os.environ['HOME'])\nfor _ in range(2500):\n    os.mkdir('d'); os.chdir('d')\n"
    take_over(
        tmp_path,
        monkeypatch,
        deep + f"import time\nwhile not os.path.exists({str(tmp_path / 'counted')!r}):\n"
        "    time.sleep(0.01)\nsys.exit('deep')",
    )
    store = await opened(tmp_path)
    before = store.usage()
    pull = asyncio.create_task(store.pull("127.0.0.1:1/hostile:1"))
    while not [home for home in store.directory.glob("staging/*/home") if list(home.iterdir())]:
        await asyncio.sleep(0.05)
    assert store.usage().bytes < before.bytes + (1 << 20)
    (tmp_path / "counted").touch()
    with pytest.raises(Internal):
        await pull
    assert list((store.directory / "staging").iterdir()) == []


async def test_output_without_end_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    take_over(tmp_path, monkeypatch, "while True: sys.stderr.write('x' * 65536)")
    store = await opened(tmp_path)
    async with asyncio.timeout(30):
        with pytest.raises(Internal, match="printed more than 64 MiB"):
            await store.pull("127.0.0.1:1/hostile:1")


async def test_a_store_that_skopeos_user_cannot_reach_says_so(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o700)
    conf = roots_alone(tmp_path / "r.conf", f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n')
    store = await ImageStore.open(tmp_path / "closed/store", ImagesConfig(registries_conf=conf))
    with pytest.raises(FailedPrecondition) as caught:
        await store.pull(registry.push("unreachable", build_image([{"unreachable": b"u"}])))
    assert "chmod o+x" in caught.value.hint


class _Nothing(BaseHTTPRequestHandler):
    """A registry without images."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        body = json.dumps({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}).encode()
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def with_client_keys(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a registry that takes only clients with its certificate, and that certificate's directory."""
    directory = tmp_path / "certificate"
    directory.mkdir(mode=0o700)
    certificate, key = directory / "client.cert", directory / "client.key"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*command, *names], check=True, capture_output=True)
    (directory / "ca.crt").write_bytes(certificate.read_bytes())
    key.chmod(0o600)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_port}", directory
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("has_key", "outcome"), [(True, NotFound), (False, Unavailable)])
async def test_a_key_that_root_alone_may_read_opens_its_registry(
    with_client_keys: tuple[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    has_key: bool,
    outcome: type[Exception],
) -> None:
    address, directory = with_client_keys
    found = HostFiles.of
    monkeypatch.setattr(HostFiles, "of", lambda settings: found(settings, etc=tmp_path / "etc"))
    (tmp_path / "etc/containers/certs.d").mkdir(parents=True, mode=0o700)
    if has_key:
        directory.rename(tmp_path / "etc/containers/certs.d" / address)
    store = await opened(tmp_path)
    with pytest.raises(outcome):
        await store.pull(f"{address}/a/b:1")

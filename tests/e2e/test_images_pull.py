"""Pulling from a real registry: names, credentials, forms of images, and what is fetched how often."""

import asyncio
import contextlib
import json
import os
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.images import build_image, build_index
from tests.support.passable import passable_directory
from tests.support.registry import Registry, running_registry
from tests.support.stalling import stalling
from vmsandbox.config import ImagesConfig
from vmsandbox.errors import (
    FailedPrecondition,
    Internal,
    NotFound,
    PermissionDenied,
    Unavailable,
    Unimplemented,
    VmsandboxError,
)
from vmsandbox.images.image_store import ImageStore
from vmsandbox.images.store.progress import PullPhase, PullProgress
from vmsandbox.model import RegistryAuth

USER, PASSWORD = "alice", "correct horse"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In place of pytest's, which is closed: skopeo's user has to pass through it."""
    with passable_directory() as path:
        yield path


@pytest.fixture(scope="module")
def locked_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("locked"), {USER: PASSWORD}) as running:
        yield running


@pytest.fixture
def registries_conf(registry: Registry, locked_registry: Registry, tmp_path: Path) -> Path:
    """Both registries speak plain HTTP, and one is the mirror of another name's."""
    path = tmp_path / "registries.conf"
    path.write_text(
        "".join(f'[[registry]]\nlocation = "{r.address}"\ninsecure = true\n' for r in (registry, locked_registry))
        + '[[registry]]\nlocation = "registry.invalid"\n'
        + f'[[registry.mirror]]\nlocation = "{registry.address}"\ninsecure = true\n'
    )
    return path


@pytest.fixture
async def store(tmp_path: Path, registries_conf: Path) -> ImageStore:
    return await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=registries_conf))


def files_in(directory: Path) -> set[str]:
    """The store's content, without the empty lock files that stay."""
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file() and p.suffix != ".lock"}


async def test_an_image_pulled_by_tag_has_the_registrys_digest(store: ImageStore, registry: Registry) -> None:
    built = build_image(run={"Cmd": ["/hello"], "Env": ["A=b"], "User": "1000:1001", "WorkingDir": "/w"})
    name = registry.push("by/tag:v1", built)
    image = await store.pull(name)
    assert image.id == built.config
    assert image.repo_tags == (name,)
    assert image.repo_digests == (f"{registry.address}/by/tag@{built.digest}",)
    assert (image.config.cmd, image.config.env, image.config.user) == (("/hello",), ("A=b",), "1000:1001")
    assert image.size > 0


async def test_an_image_pulled_by_digest_has_no_tag(store: ImageStore, registry: Registry) -> None:
    built = build_image([{"digest": b"d"}])
    registry.push("by/digest", built)
    name = f"{registry.address}/by/digest@{built.digest}"
    image = await store.pull(name)
    assert (image.repo_tags, image.repo_digests) == ((), (name,))
    assert store.find(name) == image


async def test_a_docker_image_keeps_its_id_and_digest(store: ImageStore, registry: Registry) -> None:
    built = build_image([{"docker": b"d"}], docker=True)
    image = await store.pull(registry.push("docker", built))
    assert image.id == built.config
    assert image.repo_digests == (f"{registry.address}/docker@{built.digest}",)


@pytest.mark.parametrize("compression", ["gzip", "zstd", ""])
async def test_layers_of_every_compression_become_a_root_image(
    store: ImageStore, registry: Registry, compression: str
) -> None:
    built = build_image([{f"file-{compression}": b"x" * 9000}], compression=compression)
    image = await store.pull(registry.push(f"compressed-{compression or 'not'}", built))
    root = await store.root_image(image.id)
    assert root.path.stat().st_size == root.size > 0
    assert len(root.serial) <= 36


@pytest.mark.parametrize("docker", [False, True])
async def test_of_an_index_the_image_for_the_platform_is_taken_and_the_index_digest_reported(
    store: ImageStore, registry: Registry, docker: bool
) -> None:
    mine = build_image([{"amd64": b"m"}], docker=docker)
    other = build_image([{"riscv64": b"o"}], docker=docker, architecture="riscv64")
    index = build_index({"riscv64": other, "amd64": mine}, docker=docker)
    image = await store.pull(registry.push(f"index-{docker}".lower(), index))
    assert image.id == mine.config
    assert image.repo_digests == (f"{registry.address}/index-{docker}@{index.digest}".lower(),)
    assert registry.fetched(other.layers[0]) == 0


async def test_an_index_without_the_platform_says_what_it_has(store: ImageStore, registry: Registry) -> None:
    index = build_index({"s390x": build_image(architecture="s390x")})
    with pytest.raises(NotFound) as caught:
        await store.pull(registry.push("foreign", index))
    assert "linux/s390x" in caught.value.hint


async def test_an_image_for_another_platform_is_refused(store: ImageStore, registry: Registry) -> None:
    with pytest.raises(NotFound, match="linux/s390x"):
        await store.pull(registry.push("foreign-single", build_image(architecture="s390x")))


async def test_a_layer_that_is_held_is_not_fetched_again(store: ImageStore, registry: Registry) -> None:
    base, first, second = {"base": b"base" * 1000}, {"one": b"1"}, {"two": b"2"}
    one, two = build_image([base, first]), build_image([base, second])
    await store.pull(registry.push("shared/one", one))
    await store.pull(registry.push("shared/two", two))
    await store.pull(f"{registry.address}/shared/two")
    assert [registry.fetched(layer) for layer in (*one.layers, two.layers[1])] == [1, 1, 1]


async def test_pulls_of_one_image_at_once_are_one_pull(
    store: ImageStore, registry: Registry, tmp_path: Path, registries_conf: Path
) -> None:
    built = build_image([{"at-once": os.urandom(3_000_000)}])
    name = registry.push("at/once", built)
    other = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=registries_conf))
    images = await asyncio.gather(store.pull(name), store.pull(name), other.pull(name))
    assert {image.id for image in images} == {built.config}
    assert registry.fetched(built.layers[0]) == 1


async def test_a_tag_that_moved_leaves_the_old_image_its_digest(store: ImageStore, registry: Registry) -> None:
    old, new = build_image([{"old": b"o"}]), build_image([{"new": b"n"}])
    name = registry.push("moving:tag", old)
    await store.pull(name)
    registry.push("moving:tag", new)
    await store.pull(name)
    assert store.inspect(old.config).repo_tags == ()
    assert store.inspect(old.config).repo_digests
    assert store.inspect(name).id == new.config


@pytest.mark.parametrize(
    "auth",
    [
        RegistryAuth(username=USER, password=PASSWORD),
        RegistryAuth(auth=b64encode(f"{USER}:{PASSWORD}".encode()).decode()),
    ],
    ids=["user and password", "auth"],
)
async def test_the_right_credentials_open_a_registry(
    store: ImageStore, locked_registry: Registry, auth: RegistryAuth
) -> None:
    built = build_image([{"private": b"p"}])
    name = locked_registry.push("private", built)
    assert (await store.pull(name, auth)).id == built.config


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("auth", [None, RegistryAuth(username=USER, password="wrong password")])
async def test_wrong_or_no_credentials_are_refused_even_where_the_image_is_held(
    store: ImageStore, locked_registry: Registry, auth: RegistryAuth | None, held: bool
) -> None:
    name = locked_registry.push("refused", build_image([{"refused": b"r"}]))
    if held:
        await store.pull(name, RegistryAuth(username=USER, password=PASSWORD))
    with pytest.raises(PermissionDenied) as caught:
        await store.pull(name, auth)
    assert name in str(caught.value)
    assert "wrong password" not in caught.value.report()


async def test_credentials_are_nowhere_in_the_store_afterwards(store: ImageStore, locked_registry: Registry) -> None:
    name = locked_registry.push("traceless", build_image([{"traceless": b"t"}]))
    await store.pull(name, RegistryAuth(username=USER, password=PASSWORD))
    secrets = (PASSWORD.encode(), b64encode(f"{USER}:{PASSWORD}".encode()))
    for path in (p for p in store.directory.rglob("*") if p.is_file()):
        assert not any(secret in path.read_bytes() for secret in secrets)


async def test_credentials_are_on_no_command_line_in_no_environment_and_in_no_log(
    tmp_path: Path, locked_registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    built = build_image([{"watched": os.urandom(3_000_000)}])
    locked_registry.push("watched", built)
    secrets = (PASSWORD, b64encode(f"{USER}:{PASSWORD}".encode()).decode())
    with stalling(locked_registry.address, 1_000_000) as slow:
        conf = tmp_path / "slow.conf"
        conf.write_text(f'[[registry]]\nlocation = "{slow.address}"\ninsecure = true\n')
        store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf))
        pull = asyncio.create_task(store.pull(f"{slow.address}/watched", RegistryAuth(USER, PASSWORD)))
        await asyncio.to_thread(slow.stalled.wait)
        seen = list(said_by_processes("skopeo"))
        slow.go_on.set()
        assert (await pull).id == built.config
    assert seen
    assert not [text for text in seen for secret in secrets if secret in text]
    assert not any(secret in caplog.text for secret in secrets)


def said_by_processes(program: str) -> Iterator[str]:
    """Command line and environment of every process of this name."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "comm").read_text().strip() == program:
                yield (path / "cmdline").read_text() + (path / "environ").read_text()


async def test_an_authfile_in_the_settings_serves_pulls_without_credentials(
    tmp_path: Path, locked_registry: Registry, registries_conf: Path
) -> None:
    authfile = tmp_path / "auth.json"
    entry = {"auth": b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    authfile.write_text(json.dumps({"auths": {locked_registry.address: entry}}))
    settings = ImagesConfig(registries_conf=registries_conf, authfile=authfile)
    store = await ImageStore.open(tmp_path / "store", settings)
    assert await store.pull(locked_registry.push("by-authfile", build_image()))


class _TokenRegistry(BaseHTTPRequestHandler):
    """Asks for a bearer token, gives one for the identity token `refresh-me`, and holds no image."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.headers.get("Authorization") == "Bearer opened":
            self._answer(404, {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]})
        else:
            host = self.headers["Host"]
            self._answer(401, {"errors": []}, f'Bearer realm="http://{host}/token",service="tests"')

    def do_POST(self) -> None:
        size = int(self.rfile.readline(), 16)  # skopeo sends the form in one chunk
        form = self.rfile.read(size).decode()
        self.rfile.read(len(b"\r\n0\r\n\r\n"))
        if "refresh_token=refresh-me" in form:
            self._answer(200, {"access_token": "opened"})
        else:
            self._answer(401, {"errors": []})

    def _answer(self, status: int, body: object, challenge: str = "") -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        if challenge:
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.mark.parametrize(("token", "outcome"), [("refresh-me", NotFound), ("another", PermissionDenied)])
async def test_an_identity_token_is_exchanged_by_the_registrys_token_server(
    tmp_path: Path, token: str, outcome: type[VmsandboxError]
) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TokenRegistry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"127.0.0.1:{server.server_port}"
        conf = tmp_path / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
        store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf))
        with pytest.raises(outcome):
            await store.pull(f"{address}/a/b:1", RegistryAuth(identity_token=token))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


async def test_a_registry_token_alone_is_answered_clearly(store: ImageStore, registry: Registry) -> None:
    with pytest.raises(Unimplemented, match="registry token"):
        await store.pull(f"{registry.address}/x", RegistryAuth(registry_token="token"))


async def test_an_image_pulled_through_a_mirror_keeps_the_requested_name(store: ImageStore, registry: Registry) -> None:
    built = build_image([{"mirrored": b"m"}])
    registry.push("mirrored/image:1", built)
    image = await store.pull("registry.invalid/mirrored/image:1")
    assert image.repo_tags == ("registry.invalid/mirrored/image:1",)
    assert image.repo_digests == (f"registry.invalid/mirrored/image@{built.digest}",)


async def test_a_missing_image_is_not_found(store: ImageStore, registry: Registry) -> None:
    before = files_in(store.directory)
    with pytest.raises(NotFound, match="no-such/image:1"):
        await store.pull(f"{registry.address}/no-such/image:1")
    assert files_in(store.directory) == before


async def test_an_unreachable_registry_is_unavailable(store: ImageStore) -> None:
    with pytest.raises(Unavailable) as caught:
        await store.pull("127.0.0.1:1/x/y:1")
    assert "127.0.0.1:1/x/y:1" in str(caught.value)
    assert "connection refused" in caught.value.report()


async def test_a_registry_without_tls_has_its_own_hint(tmp_path: Path, registry: Registry) -> None:
    store = await ImageStore.open(tmp_path / "plain")
    with pytest.raises(Unavailable) as caught:
        await store.pull(f"{registry.address}/x")
    assert "insecure" in caught.value.hint


async def test_a_corrupted_blob_is_refused_and_can_be_pulled_once_repaired(
    store: ImageStore, registry: Registry
) -> None:
    built = build_image([{"corrupted": os.urandom(5000)}])
    name = registry.push("corrupted", built)
    path = registry.blob_file(built.layers[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:1000] + b"?" + whole[1001:])
    before = files_in(store.directory)
    with pytest.raises(Internal, match="content that does not match the digest"):
        await store.pull(name)
    assert files_in(store.directory) == before
    path.write_bytes(whole)
    assert (await store.pull(name)).id == built.config


async def test_a_registry_that_sends_more_than_it_said_cannot_fill_the_disk(
    store: ImageStore, registry: Registry
) -> None:
    built = build_image([{"longer": os.urandom(5000)}])
    name = registry.push("longer", built)
    with registry.blob_file(built.layers[0]).open("ab") as blob:
        blob.truncate(100 << 20)
    before = files_in(store.directory)
    with pytest.raises(Internal, match="more than the manifest says"):
        await store.pull(name)
    assert files_in(store.directory) == before


async def test_a_policy_that_rejects_is_obeyed(tmp_path: Path, registry: Registry, registries_conf: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"default": [{"type": "reject"}]}')
    store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=registries_conf, policy=policy))
    with pytest.raises(PermissionDenied, match="policy"):
        await store.pull(registry.push("by-policy", build_image([{"policy": b"p"}])))


async def test_a_broken_registries_configuration_is_named(tmp_path: Path) -> None:
    conf = tmp_path / "registries.conf"
    conf.write_text("[[registry\n")
    store = await ImageStore.open(tmp_path / "store", ImagesConfig(registries_conf=conf))
    with pytest.raises(FailedPrecondition, match="registries configuration"):
        await store.pull("127.0.0.1:1/x/y:1")


async def test_progress_counts_up_to_the_size_of_the_layers(store: ImageStore, registry: Registry) -> None:
    built = build_image([{"progress": os.urandom(2_000_000)}])
    seen: list[PullProgress] = []
    await store.pull(registry.push("progress", built), progress=seen.append)
    loading = [report for report in seen if report.phase is PullPhase.DOWNLOADING]
    size = len(built.blobs[built.layers[0]])
    assert {report.total for report in loading} == {size}
    assert [report.done for report in loading] == sorted(report.done for report in loading)
    assert loading[-1].done == size
    assert seen[0].phase is PullPhase.RESOLVING
    assert seen[-1].phase is PullPhase.BUILDING

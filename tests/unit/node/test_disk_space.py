"""Images that no pod uses: by the records of all processes of a host, whichever sockets they serve."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.cri import IMAGE
from vmsandbox.config import Config
from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs.locks import try_locked
from vmsandbox.model import ContainerConfig, ContainerMetadata, ImageConfig, Mount
from vmsandbox.node.disk_space import disk_usage, unused_images
from vmsandbox.state import ContainerRecord, State

SIZE = 1000


class Store:
    def __init__(self, *images):
        self.images = images

    def list(self):
        return self.images

    def freed_by(self, ids):
        return SIZE * len(ids), 2 * SIZE * len(ids)


def image(number, **fields):
    named = {"repo_tags": (f"localhost/i:{number}",), "repo_digests": (), **fields}
    return replace(IMAGE, id="sha256:" + str(number) * 64, **named)


def record(container_id, image_id, **config):
    wanted = ContainerConfig(ContainerMetadata("c"), image_id, **config)
    return ContainerRecord(container_id, "s", wanted, image_id, image_id, ImageConfig(), 0, "")


@pytest.fixture
def config(tmp_path):
    return Config(state_directory=tmp_path, guest_image=tmp_path / "guest" / "current")


def remember(path: Path, *records):
    path.parent.mkdir(parents=True)
    with State(path) as state:
        for one in records:
            state.put(one.id, one)


def test_images_of_containers_and_of_their_volumes_are_used_whoever_runs_the_pod(config, tmp_path):
    remember(tmp_path / "serve" / "state.db", record("a", image(1).id))
    volume = Mount("/v", image="localhost/i:2")
    remember(tmp_path / "run" / "0" / "state.db", record("b", image(3).id, mounts=(volume,)))
    store = Store(*map(image, (1, 2, 3, 4)))
    assert unused_images(config, store, everything=True) == (image(4),)


def test_without_all_only_images_without_a_name_go_and_pinned_ones_never_do(config):
    store = Store(image(1), image(2, repo_tags=()), image(3, repo_tags=(), pinned=True))
    assert unused_images(config, store, everything=False) == (image(2, repo_tags=()),)
    assert unused_images(config, store, everything=True) == (image(1), image(2, repo_tags=()))


def test_nothing_is_unused_before_all_records_can_be_read(config, tmp_path):
    (tmp_path / "serve").mkdir()
    (tmp_path / "serve" / "state.db").write_bytes(b"not a database, and longer than its header " * 10)
    with pytest.raises(FailedPrecondition, match="cannot be read, which tells what pods use"):
        unused_images(config, Store(image(1)), everything=True)


async def test_everything_that_takes_space_is_counted(config, tmp_path):
    remember(tmp_path / "serve" / "state.db", record("a", image(1).id))
    (tmp_path / "serve" / "sandboxes" / "s").mkdir(parents=True)
    (tmp_path / "serve" / "sandboxes" / "s" / "scratch.img").write_bytes(b"x" * 8192)
    (tmp_path / "volumes" / "cache" / "data").mkdir(parents=True)
    (tmp_path / "volumes" / "lock").touch()  # a file beside the volumes
    (tmp_path / "volumes" / "cache" / "volume.json").write_text("{}")
    (tmp_path / "volumes" / "cache" / "data" / "f").write_bytes(b"x" * 8192)
    usages = {usage.kind: usage for usage in await disk_usage(config, Store(image(1), image(2)))}
    assert (usages["images"].count, usages["images"].active) == (2, 1)
    assert (usages["images"].size, usages["images"].reclaimable) == (2 * SIZE, SIZE)
    assert (usages["root images"].size, usages["root images"].reclaimable) == (4 * SIZE, 2 * SIZE)
    assert (usages["scratch disks"].count, usages["scratch disks"].size) == (1, 8192)
    assert (usages["volumes"].count, usages["volumes"].active) == (1, 0)
    assert usages["volumes"].size >= 8192
    assert (usages["guest images"].count, usages["logs"].count) == (0, 0)


async def test_a_volume_is_active_while_a_process_or_a_container_has_it(config, tmp_path):
    for name in ("held", "mounted", "left"):
        (tmp_path / "volumes" / name / "data").mkdir(parents=True)
        (tmp_path / "volumes" / name / "volume.json").write_text("{}")
    mounted = Mount("/v", host_path=str(tmp_path / "volumes" / "mounted" / "data" / "sub"))
    remember(tmp_path / "serve" / "state.db", record("a", image(1).id, mounts=(mounted,)))
    with try_locked(tmp_path / "volumes" / "held" / "used"):
        usages = {usage.kind: usage for usage in await disk_usage(config, Store())}
    assert (usages["volumes"].count, usages["volumes"].active) == (3, 2)


async def test_what_a_killed_run_left_is_not_active(config, tmp_path):
    for process in ("serve", "run/0", "run/1"):
        for kind in ("pod", "logs"):
            (tmp_path / process / kind).mkdir(parents=True)
        (tmp_path / process / "lock").touch()
    with try_locked(tmp_path / "run" / "1" / "lock"):
        usages = {usage.kind: usage for usage in await disk_usage(config, Store())}
    for kind in ("volumes of pods", "logs"):
        assert (usages[kind].count, usages[kind].active) == (3, 2)

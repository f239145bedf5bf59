"""Roots of podman's containers, directories of the host: what their files are, in the guest and afterwards."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins.images import BUSYBOX, PARITY
from tests.support.conformance import Serving
from tests.support.images import OCI, descriptor, tar_of
from tests.support.podman import INFRA, Podman, podman_of

LAYERS = 60
ALONE = ("--network", "none")

MAKES = """
cp /usr/bin/euid /copied; chmod 4755 /copied; setfattr -n user.note -v kept /copied; ln /copied /linked
cp /usr/sbin/getcap /able; setcap cap_net_raw+ep /able
mkdir /dir; chown 7:8 /dir; chmod 2771 /dir; ln -s nowhere /dangling; mkfifo /fifo
mknod /null c 1 3; chmod 666 /null
"""
SHOWS = """
as-user --reuid 1000 --clear-groups /copied; echo gone >/null && stat -c '%F %t:%T' /null
getfattr --only-values -n user.note /linked; echo; getcap /able
stat -c '%h %u %a' /copied; stat -c '%u:%g %a %F' /dir; readlink /dangling; test -p /fifo && echo fifo
test /copied -ef /linked && echo same
"""
SHOWN = """\
Effective uid: 0
character special file 1:3
kept
/able cap_net_raw=ep
2 0 4755
7:8 2771 directory
nowhere
fifo
same
"""

FIRST = 200_000
MAPPED = ("--uidmap", f"0:{FIRST}:65536")


@pytest.fixture(scope="module")
def podman(daemon: Serving) -> Iterator[Podman]:
    with podman_of(daemon.directory) as made:
        made.output("pull", "--quiet", PARITY)
        yield made


def test_the_files_of_a_root_keep_what_they_are_in_it_and_in_an_image_that_is_made_of_it(podman: Podman) -> None:
    options = (*ALONE, "--user", "0", "--cap-add", "MKNOD")
    said = podman.output("run", "--name", "made", *options, PARITY, "sh", "-ec", MAKES + SHOWS)
    assert said == SHOWN
    with podman.mounted("made") as root:
        assert (root / "null").is_char_device() and os.getxattr(root / "linked", "user.note") == b"kept"
        assert os.getxattr(root / "able", "security.capability")
        assert ((root / "copied").stat().st_mode, (root / "copied").stat().st_nlink) == (0o104755, 2)
    podman.output("commit", "--quiet", "made", "localhost/committed")
    assert podman.output("run", "--rm", *options, "localhost/committed", "sh", "-ec", SHOWS) == SHOWN
    podman.output("rm", "made")


def test_a_root_of_many_layers_is_one_tree(podman: Podman, daemon: Serving, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    copying = ["skopeo", "--registries-conf", daemon.directory / "registries.conf", "copy", "--quiet"]
    subprocess.run([*copying, f"docker://{BUSYBOX}", f"oci:{layout}:many"], check=True)
    add_layers(layout, LAYERS)
    image = podman.output("pull", "--quiet", f"oci:{layout}:many").strip()
    script = f"ls / | grep -c ^layer-; cat /last /layer-{LAYERS // 2}; echo own >/last; rm /layer-7; mv /layer-8 /moved"
    said = podman.output("run", "--name", "many", *ALONE, image, "sh", "-ec", script)
    assert said.split() == [str(LAYERS), str(LAYERS), str(LAYERS // 2)]
    with podman.mounted("many") as root:
        assert (root / "last").read_text() == "own\n" and (root / "moved").read_text() == "8\n"
        assert not (root / "layer-7").exists()
    podman.output("rm", "many")


def add_layers(layout: Path, count: int) -> None:
    """Add layers to the one image of a layout: each has a file of its own, and one that all have."""

    def write(data: bytes, kind: str) -> dict[str, object]:
        made = descriptor(data, kind)
        (layout / "blobs/sha256" / made["digest"].removeprefix("sha256:")).write_bytes(data)
        return made

    def read(described: dict[str, str]) -> dict[str, list[object]]:
        found: dict[str, list[object]] = json.loads(
            (layout / "blobs/sha256" / described["digest"].removeprefix("sha256:")).read_bytes()
        )
        return found

    index = json.loads((layout / "index.json").read_text())
    [listed] = index["manifests"]
    manifest = read(listed)
    config = read(manifest["config"])  # type: ignore[arg-type]
    for number in range(1, count + 1):
        content = b"%d\n" % number
        added = write(tar_of({f"layer-{number}": content, "last": content}), f"{OCI}.layer.v1.tar")
        manifest["layers"].append(added)
        config["rootfs"]["diff_ids"].append(added["digest"])  # type: ignore[call-overload]
    config.pop("history", None)
    changed = manifest | {"config": write(json.dumps(config).encode(), f"{OCI}.config.v1+json")}
    listed |= write(json.dumps(changed).encode(), f"{OCI}.manifest.v1+json")
    (layout / "index.json").write_text(json.dumps(index))


def test_a_root_of_mapped_users_is_owned_by_them_on_both_sides(podman: Podman) -> None:
    script = """
    cat /proc/self/uid_map /proc/self/gid_map; id -u
    touch /in-root; mkdir /private; chown 33:33 /private; chmod 700 /private; touch /private/of-root
    stat -c '%u:%g' /in-root /private /private/of-root /etc/passwd /dev/null
    as-user --reuid 1000 --clear-groups /usr/bin/euid
    touch /sys/x 2>/dev/null || echo 1 2>/dev/null >/proc/sys/kernel/panic || mknod /null c 1 3 2>/dev/null || echo none
    """
    options = (*ALONE, *MAPPED, "--user", "0", "--cap-add", "MKNOD")
    said = podman.output("run", "--name", "mapped", *options, PARITY, "sh", "-c", script).split("\n")
    assert [line.split() for line in said[:2]] == [["0", str(FIRST), "65536"]] * 2
    assert said[2:] == ["0", "0:0", "33:33", "0:0", "0:0", "0:0", "Effective uid: 0", "none", ""]
    with podman.mounted("mapped") as root:
        owners = [(root / path).stat().st_uid for path in ("in-root", "private", "private/of-root", "etc/passwd")]
        assert owners == [FIRST, FIRST + 33, FIRST, FIRST]
    removed(podman, "rm", "mapped")


def test_a_volume_has_the_owners_of_the_host_and_mapped_ones_where_that_is_asked_for(
    podman: Podman, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    (tmp_path / "file").touch()
    volumes = ("-v", f"{tmp_path}:/plain", "-v", f"{tmp_path}:/idmapped:idmap")
    script = "stat -c %u /plain/file /idmapped/file; touch /plain/one /idmapped/two"
    said = podman.output("run", "--rm", *ALONE, *MAPPED, *volumes, BUSYBOX, "sh", "-ec", script)
    assert said.split() == ["65534", "0"]
    assert [(tmp_path / name).stat().st_uid for name in ("one", "two")] == [FIRST, 0]


def test_the_containers_of_a_pod_share_its_users(podman: Podman) -> None:
    podman.output("pod", "create", "--name", "mapped", *ALONE, *MAPPED, *INFRA)
    podman.output("run", "-d", "--pod", "mapped", BUSYBOX, "sh", "-c", "nc -l -p 80 -e cat /proc/self/uid_map")
    asks = "until nc 127.0.0.1 80; do sleep 0.1; done; touch /file; stat -c %u /file"
    said = podman.output("run", "--rm", "--pod", "mapped", BUSYBOX, "sh", "-c", asks)
    assert said.split() == ["0", str(FIRST), "65536", "0"]
    removed(podman, "pod", "rm", "--force", "--time", "0", "mapped")


def removed(podman: Podman, *command: str) -> None:
    """Remove what has mapped users: podman 4.3 sometimes finds its /dev/shm still mounted, with runc as well."""
    done = podman.run(*command)
    assert done.returncode == 0 or "userdata/shm: device or resource busy" in done.stderr, done.stderr
    podman.run(*command)


def test_nothing_is_left(podman: Podman, daemon: Serving) -> None:
    podman.output("rm", "--all", "--force", "--time", "0")
    assert list((daemon.directory / "run").rglob("sandboxes/*")) == []

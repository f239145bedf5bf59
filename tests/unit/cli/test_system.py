"""system df and prune, image prune: what is asked, removed and said."""

import json

import pytest

from tests.support.cri import IMAGE
from vmsandbox.cli.commands.node import system
from vmsandbox.guestimage import GuestImageFiles
from vmsandbox.node import disk_space

NOTHING = GuestImageFiles((), (), (), (), 0, 0)


class Store:
    def __init__(self):
        self.held = {IMAGE.id: IMAGE}

    def list(self):
        return tuple(self.held.values())

    def freed_by(self, ids):
        return 1_000_000 * len(ids), 500_000 * len(ids)

    async def remove(self, name):
        del self.held[name]


@pytest.fixture
def store(monkeypatch):
    made = Store()

    async def opened(config):
        return made

    monkeypatch.setattr(system, "open_images", opened)
    for module in (system, disk_space):
        monkeypatch.setattr(module, "guest_files", lambda config: NOTHING)
    return made


def test_what_takes_space_is_a_table(vmsandbox, store):
    shown = vmsandbox("system", "df")
    assert shown.out.splitlines()[0].split() == ["TYPE", "COUNT", "ACTIVE", "SIZE", "RECLAIMABLE"]
    first = json.loads(vmsandbox("system", "df", "-o", "json").out)[0]
    assert first == {"type": "images", "count": 1, "active": 0, "size": 1_000_000, "reclaimable": 1_000_000}


@pytest.mark.parametrize("words", [("system", "prune"), ("image", "prune")])
def test_pruning_asks_and_says_what_was_freed(vmsandbox, store, words):
    refused = vmsandbox(*words, "--all", stdin="n\n")
    assert (refused.status, refused.out, list(store.held)) == (1, "", [IMAGE.id])
    assert IMAGE.repo_tags[0] in refused.err
    done = vmsandbox(*words, "--all", stdin="y\n")
    assert (done.status, done.out, store.held) == (0, "freed 1.5MB\n", {})


@pytest.mark.parametrize("words", [("system", "prune"), ("image", "prune")])
def test_without_anything_to_remove_nothing_is_asked(vmsandbox, store, words):
    done = vmsandbox(*words)
    assert (done.status, done.out) == (0, "")
    assert "no" in done.err
    assert vmsandbox(*words, "--all", "--force").out == "freed 1.5MB\n"


def test_without_an_answer_nothing_is_removed(vmsandbox, store):
    assert vmsandbox("system", "prune", "--all").status == 1
    assert list(store.held) == [IMAGE.id]


def test_older_guest_images_go_without_all(vmsandbox, store, monkeypatch, tmp_path):
    old = GuestImageFiles((tmp_path,), (), (tmp_path,), (), 7, 7_000_000)
    monkeypatch.setattr(system, "guest_files", lambda config: old)
    removed = []
    monkeypatch.setattr(system, "remove_guest_files", lambda config: removed.append(True) or old)
    done = vmsandbox("system", "prune", "--force")
    assert (done.out, removed) == ("freed 7.0MB\n", [True])
    assert f"guest image {tmp_path}" in done.err

"""Commands on images, by whatever name they are called."""

import json

import pytest

from tests.support.cri import IMAGE
from vmsandbox.cli.table import TABLE

NAME = IMAGE.repo_tags[0]


@pytest.fixture
def held(vmsandbox):
    vmsandbox.served.images.held[IMAGE.id] = IMAGE
    return vmsandbox


@pytest.mark.parametrize("words", [("images",), ("image", "list"), ("image", "ls")])
def test_all_names_of_the_list_are_one_command(held, words):
    assert held(*words, "-o", "name").out == f"{NAME}\n"
    assert held(*words, "--filter", "name=other").out.split() == ["IMAGE", "TAG", "IMAGE", "ID", "SIZE"]


@pytest.mark.parametrize("words", [("rmi",), ("image", "remove"), ("image", "rm")])
def test_removing_does_all_it_can_and_fails_for_what_is_not_there(held, words):
    ran = held(*words, "registry.example/none:1", NAME)
    assert (ran.status, ran.out) == (1, f"{NAME}\n")
    assert "there is no image registry.example/none:1" in ran.err
    assert held.served.images.held == {}


def test_removing_what_is_not_there_can_be_ignored(held):
    ran = held("rmi", "--ignore", "registry.example/none:1", NAME)
    assert (ran.status, ran.out, ran.err) == (0, f"{NAME}\n", "")


def test_an_image_that_a_container_uses_goes_by_force_alone(held):
    container = held.container(held.pod("web"))
    refused = held("rmi", NAME)
    assert (refused.status, refused.out) == (1, "")
    assert f"image {NAME} is used by container main" in refused.err and "--force" in refused.err
    assert IMAGE.id in held.served.images.held
    assert held("rmi", "--force", NAME, "registry.example/none:1").out == f"{NAME}\n"
    assert held.served.images.held == {} and container in held("ps", "-o", "json").out


def test_names_of_one_command_are_one_line_of_the_table():
    for first, second in (("image pull", "pull"), ("image remove", "rmi"), ("image list", "images")):
        assert TABLE[first] == TABLE[second]


def test_a_user_without_the_store_pulls_through_the_daemon(held, monkeypatch):
    from vmsandbox.cli.commands.images import images

    monkeypatch.setattr(images, "_owns_store", lambda: False)
    held.served.images.in_registries["registry.example/new:1"] = IMAGE
    assert held("pull", "registry.example/new:1").out == f"{NAME}\n"
    assert json.loads(held("pull", "-o", "json", "registry.example/new:1").out)[0]["id"] == IMAGE.id
    failed = held("image", "pull", "registry.example/none:1")
    assert failed.status == 1
    assert "there is no such image" in failed.err

"""The calls of the image service over a real socket."""

import asyncio
import json
import os

import grpc
import pytest
from cri_api.v1 import api_pb2 as api

from tests.support.cri import IMAGE, served
from vmsandbox.cri.servicer import filesystem
from vmsandbox.errors import PermissionDenied, Unavailable
from vmsandbox.model import Image, RegistryAuth

OTHER = Image("sha256:" + "9" * 64, ("registry.example/other:2",), size=1)


@pytest.fixture
async def cri(tmp_path):
    async with served(tmp_path) as it:
        it.images.held = {IMAGE.id: IMAGE, OTHER.id: OTHER}
        yield it


def named(name):
    return api.ImageSpec(image=name)


async def failure(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details()


async def test_images_are_listed(cri):
    images = (await cri.image_stub.ListImages(api.ListImagesRequest())).images
    assert [image.id for image in images] == [IMAGE.id, OTHER.id]
    assert all(image.size for image in images)


async def test_the_filter_names_one_image(cri):
    async def listed(name):
        request = api.ListImagesRequest(filter=api.ImageFilter(image=named(name)))
        return [image.id for image in (await cri.image_stub.ListImages(request)).images]

    assert await listed("registry.example/other:2") == [OTHER.id]
    assert await listed("registry.example/none:2") == []


@pytest.mark.parametrize("name", [IMAGE.id, *IMAGE.repo_tags, *IMAGE.repo_digests])
async def test_an_image_is_found_by_each_of_its_names(cri, name):
    image = (await cri.image_stub.ImageStatus(api.ImageStatusRequest(image=named(name)))).image
    assert (image.id, image.uid.value, image.username) == (IMAGE.id, 1002, "")
    assert list(image.repo_tags) == list(IMAGE.repo_tags)
    assert list(image.repo_digests) == list(IMAGE.repo_digests)


async def test_the_status_of_a_missing_image_is_empty_and_no_error(cri):
    response = await cri.image_stub.ImageStatus(api.ImageStatusRequest(image=named("registry.example/none:1")))
    assert not response.HasField("image")


async def test_the_status_of_no_image_is_an_error(cri):
    assert (await failure(cri.image_stub.ImageStatus(api.ImageStatusRequest())))[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert (await failure(cri.image_stub.ImageStatus(api.ImageStatusRequest(image=named("SHOUT")))))[
        0
    ] is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_verbose_status_holds_the_images_configuration(cri):
    response = await cri.image_stub.ImageStatus(api.ImageStatusRequest(image=named(IMAGE.id), verbose=True))
    assert json.loads(response.info["info"]) == {
        "imageSpec": {"config": {"User": "1002:5", "Cmd": ["run"], "StopSignal": "SIGQUIT"}}
    }


async def test_a_pull_gives_the_images_id(cri):
    cri.images.in_registries["registry.example/new"] = Image("sha256:new", size=3)
    response = await cri.image_stub.PullImage(api.PullImageRequest(image=named("registry.example/new")))
    assert response.image_ref == "sha256:new"
    assert cri.images.auths == [None]


AUTH = {"username": "u", "password": "p"}


@pytest.mark.parametrize(
    ("server", "image", "given"),
    [
        ("", "registry.example/new", True),
        ("registry.example", "registry.example/new", True),
        ("https://registry.example/v2/", "registry.example/new", True),
        ("registry.example:5000", "registry.example:5000/new", True),
        ("registry.example", "registry.example:5000/new", False),
        ("https://elsewhere.example", "registry.example/new", False),
        ("https://index.docker.io/v1/", "busybox", True),
        ("https://index.docker.io/v1/", "registry.example/new", False),
    ],
)
async def test_credentials_go_to_the_server_that_they_are_for(cri, server, image, given):
    cri.images.in_registries[image] = Image("sha256:new", size=3)
    auth = api.AuthConfig(**AUTH, server_address=server)
    await cri.image_stub.PullImage(api.PullImageRequest(image=named(image), auth=auth))
    assert cri.images.auths == [RegistryAuth(**AUTH) if given else None]


async def test_credentials_are_not_logged(cri, caplog):
    caplog.set_level("DEBUG", "vmsandbox")  # a command that ran in this process may have set it
    request = api.PullImageRequest(image=named("registry.example/none"), auth=api.AuthConfig(password="hunter2hunter2"))
    await failure(cri.image_stub.PullImage(request))
    async with asyncio.timeout(10):
        while "PullImage" not in caplog.text:  # The client may have its answer before.
            await asyncio.sleep(0.005)
    assert "hunter2" not in caplog.text


async def test_a_pull_for_an_unknown_handler_is_refused(cri):
    spec = api.ImageSpec(image="registry.example/new", runtime_handler="nobody")
    code, details = await failure(cri.image_stub.PullImage(api.PullImageRequest(image=spec)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'nobody'" in details


async def test_an_unreachable_registry_is_told_in_the_kubelets_words(cri):
    cri.images.error = Unavailable("the registry does not answer", hint="look at the network")
    code, details = await failure(cri.image_stub.PullImage(api.PullImageRequest(image=named("registry.example/new"))))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert details == "RegistryUnavailable: the registry does not answer; try: look at the network"


async def test_a_wrong_password_is_permission_denied(cri):
    cri.images.error = PermissionDenied("the registry refuses the password")
    code, _ = await failure(cri.image_stub.PullImage(api.PullImageRequest(image=named("registry.example/new"))))
    assert code is grpc.StatusCode.PERMISSION_DENIED


async def test_an_image_is_removed_and_again_without_an_error(cri):
    for _ in range(2):
        await cri.image_stub.RemoveImage(api.RemoveImageRequest(image=named(IMAGE.id)))
    assert list(cri.images.held) == [OTHER.id]


async def test_the_file_systems_of_images_and_containers_are_told(cri, tmp_path):
    (tmp_path / "sandboxes" / "disk").write_bytes(b"x" * 10_000)
    response = await cri.image_stub.ImageFsInfo(api.ImageFsInfoRequest())
    (images,), (containers,) = response.image_filesystems, response.container_filesystems
    assert (images.used_bytes.value, images.inodes_used.value) == (12345, 6)
    assert containers.used_bytes.value >= 10_000
    assert containers.inodes_used.value == 2
    assert os.path.ismount(images.fs_id.mountpoint)
    assert images.timestamp > 10**18


def test_a_sparse_file_counts_with_what_it_occupies(tmp_path):
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(1 << 30)
    assert filesystem.usage(tmp_path).used_bytes.value < 1 << 20


def test_a_directory_that_is_not_there_yet_takes_nothing(tmp_path):
    usage = filesystem.usage(tmp_path / "later" / "still")
    assert (usage.used_bytes.value, usage.inodes_used.value) == (0, 0)
    assert usage.fs_id.mountpoint == str(filesystem.mount_point(tmp_path))

"""The image service: pulling, looking up, listing and removing."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from cri_api.v1 import api_pb2 as pb

from tests.standins import images
from tests.support.conformance_client import Cri, Pod


@contextmanager
def pulled(cri: Cri, *names: str) -> Iterator[list[str]]:
    """The images, not there before, for as long as the context lasts; their ids."""
    remove(cri, names)
    yield [cri.pull(name) for name in names]
    remove(cri, names)


def remove(cri: Cri, names: Sequence[str]) -> None:
    for name in names:
        cri.remove_image(name)
        assert cri.image(name) is None


def used(cri: Cri) -> int:
    (usage,) = cri.images.ImageFsInfo(pb.ImageFsInfoRequest()).image_filesystems
    return int(usage.used_bytes.value)


@pytest.mark.parametrize(
    ("name", "tag"),
    [(images.WITH_TAG, images.WITH_TAG), (images.WITHOUT_TAG, f"{images.WITHOUT_TAG}:latest")],
    ids=["with a tag", "without"],
)
def test_an_image_is_pulled_by_name(cri: Cri, name: str, tag: str) -> None:
    with pulled(cri, name) as (image_id,):
        image = cri.image(name)
        assert image is not None
        assert (image.id, list(image.repo_tags)) == (image_id, [tag])
        assert image.size > 0
        assert tag in [known for listed in cri.list_images() for known in listed.repo_tags]
    assert tag not in [known for listed in cri.list_images() for known in listed.repo_tags]


def test_an_image_is_pulled_by_digest(cri: Cri) -> None:
    with pulled(cri, images.BY_DIGEST):
        image = cri.image(images.BY_DIGEST)
        assert image is not None
        (by_digest,) = image.repo_digests
    with pulled(cri, by_digest):
        image = cri.image(by_digest)
        assert image is not None
        assert (list(image.repo_tags), list(image.repo_digests)) == ([], [by_digest])


def test_an_image_answers_to_every_reference_it_has(cri: Cri) -> None:
    with pulled(cri, images.ALL_REFERENCES) as (image_id,):
        image = cri.image(image_id)
        assert image is not None
        for reference in (*image.repo_tags, *image.repo_digests, image_id.removeprefix("sha256:")):
            assert cri.image(reference) == image, reference


@pytest.mark.parametrize(
    ("kind", "uid", "username"),
    [("uid", 1002, ""), ("username", None, "www-data"), ("uid-group", 1003, ""), ("username-group", None, "www-data")],
)
def test_the_user_of_an_image_is_read_from_its_configuration(
    cri: Cri, kind: str, uid: int | None, username: str
) -> None:
    with pulled(cri, images.user_image(kind)):
        image = cri.image(images.user_image(kind))
        assert image is not None
        assert (image.uid.value if image.HasField("uid") else None, image.username) == (uid, username)


def test_different_images_have_ids_of_their_own(cri: Cri) -> None:
    with pulled(cri, *images.DIFFERENT) as ids:
        tags = {image.id: list(image.repo_tags) for image in cri.list_images()}
        assert [tags[image_id] for image_id in ids] == [[name] for name in images.DIFFERENT]


@pytest.mark.parametrize("names", [images.SAME, (images.PAUSE, images.PAUSE_ELSEWHERE)], ids=["tags", "registries"])
def test_one_image_under_several_names_is_removed_with_the_first(cri: Cri, names: tuple[str, ...]) -> None:
    with pulled(cri, *names) as ids:
        assert len(set(ids)) == 1
        image = cri.image(ids[0])
        assert image is not None and sorted(image.repo_tags) == sorted(names)
        cri.remove_image(names[0])
        assert [cri.image(reference) for reference in (*names, ids[0])] == [None] * (len(names) + 1)


def test_removing_an_unknown_image_succeeds(cri: Cri) -> None:
    cri.remove_image("0" * 64)
    cri.remove_image("registry.k8s.io/never-pulled:1")


def test_of_removals_at_once_none_fails_and_each_finds_it_gone(cri: Cri) -> None:
    image_id = cri.pull(images.WITH_TAG)

    def remove_and_look(_: int) -> pb.Image | None:
        cri.remove_image(image_id)
        return cri.image(image_id)

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(remove_and_look, range(5))) == [None] * 5


def test_disk_usage_follows_pulls_and_removals(cri: Cri) -> None:
    remove(cri, [images.WITH_TAG])
    before = used(cri)
    with pulled(cri, images.WITH_TAG):
        assert used(cri) > before
    assert used(cri) == before


def test_a_pull_ends_with_its_callers_deadline(cri: Cri) -> None:
    request = pb.PullImageRequest(image={"image": images.WITH_TAG})
    with pytest.raises(grpc.RpcError) as caught:
        cri.images.PullImage(request, timeout=0.001)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("name", ["registry.k8s.io/nobody-made-this:1", f"{images.STAGING}/test-image-tag:missing"])
def test_an_image_that_no_registry_has_is_not_found(cri: Cri, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cri.pull(name)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert name in caught.value.details()


def test_every_answer_names_an_image_by_the_same_id(cri: Cri, pod: Pod) -> None:
    with pulled(cri, images.PAUSE) as (image_id,):
        image = cri.image(images.PAUSE)
        container = pod.create("/pause", image=image_id)
        (listed,) = cri.list_containers(id=container.id)
        assert image is not None
        assert {image.id, container.status().image_id, listed.image_id} == {image_id}
        assert container.status().image_ref in (image_id, *image.repo_digests)
        container.remove()


def test_a_container_goes_on_when_its_image_is_removed(cri: Cri, pod: Pod) -> None:
    container = pod.start(image=images.DIFFERENT[0])
    cri.remove_image(images.DIFFERENT[0])
    assert container.output("ls", "/different-1") == "/different-1\n"
    container.remove()

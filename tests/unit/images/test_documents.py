"""Manifests, indexes and configurations: what registries and archives may say, and what they may not."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.images import build_image, build_index, digest_of
from vmsandbox.errors import Internal, NotFound, ResourceExhausted, Unimplemented, VmsandboxError
from vmsandbox.images.oci.documents import MAX_DOCUMENT, Malformed, check_digest, load_json
from vmsandbox.images.oci.imageconfig import parse_config
from vmsandbox.images.oci.manifest import choose_manifest, is_index, parse_index, parse_manifest, runs_on
from vmsandbox.images.oci.platform import Platform
from vmsandbox.images.store.layout import Candidate
from vmsandbox.model import ImageConfig

AMD64 = Platform("amd64")
GIB = 1 << 30
DIGEST = "sha256:" + "ab" * 32
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


def dumps(document: object) -> bytes:
    return json.dumps(document).encode()


def descriptor(**changes: Any) -> dict[str, Any]:
    return {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 5} | changes


def manifest(**changes: Any) -> bytes:
    return dumps({"schemaVersion": 2, "config": descriptor(), "layers": [descriptor(mediaType=OCI_LAYER)]} | changes)


@pytest.mark.parametrize("docker", [False, True])
def test_a_manifest_names_configuration_and_layers(docker: bool) -> None:
    built = build_image([{"a": b"1"}, {"b": b"2"}], docker=docker)
    parsed = parse_manifest(built.manifest)
    assert parsed.config.digest == built.config
    assert tuple(layer.digest for layer in parsed.layers) == built.layers
    assert parsed.blobs == (parsed.config, *parsed.layers)
    assert not is_index(built.manifest)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"config": None}, Malformed),
        ({"config": []}, Malformed),
        ({"config": descriptor(digest="sha256:short")}, Malformed),
        ({"config": descriptor(digest="sha256:../../../../etc/passwd")}, Malformed),
        ({"config": descriptor(digest=DIGEST + "\n")}, Malformed),
        ({"config": descriptor(digest=7)}, Malformed),
        ({"config": descriptor(size=-1)}, Malformed),
        ({"config": descriptor(size=2**60)}, Malformed),
        ({"config": descriptor(size=True)}, Malformed),
        ({"config": descriptor(size="5")}, Malformed),
        ({"config": descriptor(mediaType="application/vnd.cncf.helm.config.v1+json")}, Malformed),
        ({"layers": {}}, Malformed),
        ({"layers": [None]}, Malformed),
        ({"layers": [descriptor(mediaType=OCI_LAYER)] * 513}, Malformed),
        ({"layers": [descriptor(mediaType=OCI_LAYER + "+encrypted")]}, Unimplemented),
        ({"layers": [descriptor(mediaType="text/html")]}, Unimplemented),
        ({"schemaVersion": 1}, Unimplemented),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(changes: dict[str, Any], error: type[VmsandboxError]) -> None:
    with pytest.raises(error):
        parse_manifest(manifest(**changes))


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_a_document_that_is_not_a_json_object_is_refused(raw: bytes) -> None:
    with pytest.raises(Malformed, match="the manifest"):
        parse_manifest(raw)


def test_a_document_that_is_too_large_is_refused() -> None:
    with pytest.raises(Malformed, match="4 MiB"):
        load_json(b"{}" + b" " * MAX_DOCUMENT, "it")


@given(st.dictionaries(st.sampled_from(["config", "layers", "schemaVersion", "mediaType", "manifests"]), _json))
def test_any_json_is_a_document_or_refused(document: dict[str, Any]) -> None:
    raw = dumps(document)
    for parse in (parse_manifest, parse_index, is_index):
        try:
            parse(raw)
        except VmsandboxError as error:
            assert str(error)


@given(st.dictionaries(st.sampled_from(["rootfs", "config", "os", "architecture", "variant"]), _json))
def test_any_json_is_a_configuration_or_refused(document: dict[str, Any]) -> None:
    try:
        parse_config(dumps(document))
    except Malformed as error:
        assert "configuration" in str(error) or "platform" in str(error) or "label" in str(error)


_RUN = ["User", "Env", "Entrypoint", "Cmd", "WorkingDir", "StopSignal", "Volumes", "Labels"]


@given(st.dictionaries(st.sampled_from(_RUN), _json))
def test_how_an_image_is_run_is_strings_or_refused(run: dict[str, Any]) -> None:
    try:
        config = parse_config(dumps({"config": run})).run
    except Malformed:
        return
    for value in (*config.env, *config.cmd, *config.entrypoint, *config.volumes, config.user, config.working_dir):
        assert "\0" not in value
        value.encode()


@pytest.mark.parametrize("docker", [False, True])
def test_an_index_lists_manifests_by_platform(docker: bool) -> None:
    mine, other = build_image(docker=docker), build_image([{"o": b"o"}], architecture="arm64", docker=docker)
    index = build_index({"arm64": other, "amd64": mine}, docker=docker)
    assert is_index(index.manifest)
    entries = parse_index(index.manifest)
    assert [entry.platform for entry in entries] == [Platform("arm64"), Platform("amd64")]
    assert choose_manifest(entries, AMD64, "it").digest == mine.digest


def index_of(*platforms: dict[str, str] | None) -> bytes:
    entries = []
    for number, platform in enumerate(platforms):
        entry = {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": digest_of(b"%d" % number),
            "size": 1,
        }
        entries.append(entry | ({"platform": platform} if platform else {}))
    return dumps({"schemaVersion": 2, "manifests": entries})


def chosen(wanted: Platform, *platforms: dict[str, str] | None) -> int:
    found = choose_manifest(parse_index(index_of(*platforms)), wanted, "it").digest
    return [digest_of(b"%d" % number) for number in range(len(platforms))].index(found)


ARM = {"architecture": "arm64", "os": "linux"}
AMD = {"architecture": "amd64", "os": "linux"}


def test_the_manifest_of_the_same_variant_is_preferred() -> None:
    assert chosen(AMD64, {**AMD, "os": "windows"}, ARM, AMD) == 2
    assert chosen(AMD64, {**AMD, "variant": "v3"}, AMD) == 1
    assert chosen(Platform("arm64"), {**ARM, "variant": "v8"}) == 0
    assert chosen(AMD64, ARM, None) == 1
    assert chosen(AMD64, {"architecture": "unknown", "os": "unknown"}, AMD) == 1


def test_an_index_without_our_platform_says_what_it_has() -> None:
    with pytest.raises(NotFound, match="no image for linux/amd64") as caught:
        choose_manifest(
            parse_index(index_of({**ARM, "variant": "v8"}, {"architecture": "s390x", "os": "linux"})), AMD64, "it"
        )
    assert caught.value.hint == "it has linux/arm64/v8, linux/s390x"


def test_an_empty_index_has_nothing() -> None:
    with pytest.raises(NotFound):
        choose_manifest(parse_index(b'{"manifests": []}'), AMD64, "it")


@pytest.mark.parametrize(
    ("platform", "wanted", "runs"),
    [
        (Platform("arm64", variant="v8"), Platform("arm64"), True),
        (Platform("arm", variant="v7"), Platform("arm", variant="v6"), False),
        (Platform("amd64", "windows"), AMD64, False),
        (Platform("amd64", ""), AMD64, True),
        (Platform("386"), AMD64, False),
    ],
)
def test_which_platforms_run(platform: Platform, wanted: Platform, runs: bool) -> None:
    assert runs_on(platform, wanted) is runs


def test_a_configuration_says_how_to_run_the_image() -> None:
    run = {
        "User": "www-data:staff", "Env": ["A=b=c", "EMPTY=", "BARE"], "Entrypoint": ["/init"], "Cmd": ["-x", ""],
        "WorkingDir": "/srv", "StopSignal": "SIGQUIT", "Volumes": {"/data": {}}, "Labels": {"k": "v", "n": None},
    }  # fmt: skip
    assert parse_config(dumps({"config": run, "unknown": 1})).run == ImageConfig(
        user="www-data:staff",
        env=("A=b=c", "EMPTY=", "BARE="),
        entrypoint=("/init",),
        cmd=("-x", ""),
        working_dir="/srv",
        stop_signal="SIGQUIT",
        volumes=("/data",),
        labels={"k": "v", "n": ""},
    )


@pytest.mark.parametrize("run", [None, {}, {"Env": None, "Cmd": None, "User": None, "Labels": None, "Volumes": None}])
def test_what_a_configuration_leaves_out_is_empty(run: object) -> None:
    parsed = parse_config(dumps({"config": run}))
    assert (parsed.run, parsed.platform, parsed.diff_ids) == (ImageConfig(), None, ())


@pytest.mark.parametrize(
    "document",
    [
        {"config": {"Env": ["=x"]}},
        {"config": {"Env": "A=b"}},
        {"config": {"Cmd": [1]}},
        {"config": {"User": 0.5}},
        {"config": {"Cmd": ["a\0b"]}},
        {"config": {"WorkingDir": "\ud800"}},
        {"rootfs": {"type": "aufs"}},
        {"rootfs": {"diff_ids": ["sha256:x"]}},
        {"architecture": 7},
        {"config": []},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(document: object) -> None:
    with pytest.raises(Malformed):
        parse_config(dumps(document))


def test_the_chain_id_is_that_of_the_specification() -> None:
    """OCI config.md: ChainID(L0|L1) = Digest(ChainID(L0) + " " + DiffID(L1))."""
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    one = parse_config(dumps({"rootfs": {"diff_ids": [first]}}))
    two = parse_config(dumps({"rootfs": {"diff_ids": [first, second]}}))
    assert one.chain_id == first
    assert two.chain_id == "sha256:" + hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert parse_config(b"{}").chain_id == "sha256:" + hashlib.sha256(b"").hexdigest()


def test_a_manifest_and_a_configuration_that_do_not_belong_together_are_refused() -> None:
    one, two = build_image([{"a": b"1"}]), build_image([{"a": b"1"}, {"b": b"2"}])
    with pytest.raises(Internal, match="configuration has the digest"):
        Candidate.read(one.manifest, two.blobs[two.config], AMD64, GIB)


def test_an_image_with_other_layers_than_diff_ids_is_refused() -> None:
    config = dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST, DIGEST]}})
    raw = manifest(config=descriptor(digest=digest_of(config), size=len(config)))
    with pytest.raises(Malformed, match="1 layers and 2 diff_ids"):
        Candidate.read(raw, config, AMD64, GIB)


def test_an_image_larger_than_allowed_even_compressed_is_refused() -> None:
    built = build_image([{"a": b"1"}])
    with pytest.raises(ResourceExhausted, match="larger than 10 bytes"):
        Candidate.read(built.manifest, built.blobs[built.config], AMD64, 10)


def test_content_of_another_digest_is_named() -> None:
    assert check_digest(b"x", digest_of(b"x"), "it") == b"x"
    with pytest.raises(Internal, match=f"it has the digest {digest_of(b'y')}, not {digest_of(b'x')}"):
        check_digest(b"y", digest_of(b"x"), "it")

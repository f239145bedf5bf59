"""Names of images: the grammar and defaults of docker's and containerd's references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import InvalidArgument
from vmsandbox.images.oci.reference import Reference

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/app", "docker.io/user/app:latest"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/user/app:v1", "docker.io/user/app:v1"),
        ("localhost/app", "localhost/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("registry.example.org:443/a/b/c", "registry.example.org:443/a/b/c:latest"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/x:latest"),
        ("[::1]:5000/x:y", "[::1]:5000/x:y"),
        ("Registry/x", "Registry/x:latest"),
        ("a__b/c.d-e--f", "docker.io/a__b/c.d-e--f:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"busybox:tag@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        ("app:Tag_1.2-x", "docker.io/library/app:Tag_1.2-x"),
    ],
)
def test_a_short_name_stands_for_a_full_one(text: str, full: str) -> None:
    assert str(Reference.parse(text)) == full


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "/", "@", "a:", "a@", ":tag", "UPPER", "a/UPPER", "a//b", "/a", "a/", "a b", "a\n", "a:tag\n", "-a",
        "a-", "a..b", "a:-tag", "a:" + "t" * 129, "a" * 256, "reg istry.io/a", "-x.io/a", "x.io:port/a", "a:b:c",
        f"a@sha256:{HEX[:-1]}", f"a@sha256:{HEX.upper()}", f"a@sha512:{HEX}{HEX}", f"a@{DIGEST}x",
        f"a@{DIGEST}@{DIGEST}", HEX, "docker://a", "../a", "a/../b", "a/./b", "--tls-verify=false", "ä", "a:ä",
    ],
)  # fmt: skip
def test_a_text_that_is_not_a_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="not the name of an image"):
        Reference.parse(text)


_word = st.text("az09", min_size=1, max_size=5)
_component = st.builds(
    lambda words, between: between.join(words),
    st.lists(_word, min_size=1, max_size=3),
    st.sampled_from([".", "_", "__", "-", "---"]),
)
_registry = st.sampled_from(["docker.io", "localhost", "localhost:5000", "a.b", "127.0.0.1:1", "[fe80::1]:443"])
_tag = st.builds(str.__add__, st.sampled_from("aZ0_"), st.text("aZ0_.-", max_size=20))
_references = st.builds(
    lambda registry, parts, tag, digest: Reference(registry, "/".join(parts), "" if digest else tag, digest),
    _registry,
    st.lists(_component, min_size=2, max_size=4),
    _tag,
    st.sampled_from(["", DIGEST]),
)


@given(_references)
def test_a_full_name_stands_for_itself(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference


@given(st.text(max_size=60))
def test_any_text_is_a_name_or_refused(text: str) -> None:
    try:
        full = Reference.parse(text)
    except InvalidArgument:
        return
    assert Reference.parse(str(full)) == full


def test_a_digest_replaces_a_tag() -> None:
    assert str(Reference.parse("a:1").with_digest(DIGEST)) == f"docker.io/library/a@{DIGEST}"

"""Credentials: what skopeo's file holds of a request, and that no text shows them."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unimplemented
from vmsandbox.images.skopeo.credentials import auth_entry, authfile, secrets_of
from vmsandbox.images.skopeo.diagnosis import diagnose, scrub
from vmsandbox.model import RegistryAuth


def basic(user: str, password: str) -> str:
    return b64encode(f"{user}:{password}".encode()).decode()


def written(auth: RegistryAuth | None, base: Path | None = None) -> Any:
    return json.loads(authfile("registry:5000", auth, base))


@pytest.mark.parametrize(
    ("auth", "entry"),
    [
        (RegistryAuth("alice", "secret"), {"auth": basic("alice", "secret")}),
        (RegistryAuth("alice", ""), {"auth": basic("alice", "")}),
        (RegistryAuth("alice", "se:cret", auth=basic("other", "x")), {"auth": basic("alice", "se:cret")}),
        (RegistryAuth(auth=basic("alice", "a:b")), {"auth": basic("alice", "a:b")}),
        (RegistryAuth(auth=basic("alice", "padded\0\0")), {"auth": basic("alice", "padded")}),
        (RegistryAuth(identity_token="token"), {"auth": basic("<token>", ""), "identitytoken": "token"}),
        (
            RegistryAuth("alice", "secret", identity_token="token"),
            {"auth": basic("alice", "secret"), "identitytoken": "token"},
        ),
        (RegistryAuth(), {}),
    ],
)
def test_a_requests_credentials_become_an_entry_of_the_file(auth: RegistryAuth, entry: dict[str, str]) -> None:
    assert auth_entry(auth) == entry


@pytest.mark.parametrize(
    "encoded", ["no base64!", basic("nocolon", "")[:-4], b64encode(b"alice").decode(), "/w==", "ä"]
)
def test_an_auth_that_is_not_user_and_password_is_refused_without_showing_it(encoded: str) -> None:
    with pytest.raises(InvalidArgument, match="base64") as caught:
        auth_entry(RegistryAuth(auth=encoded))
    assert encoded not in caught.value.report()


def test_a_registry_token_alone_is_refused_clearly() -> None:
    with pytest.raises(Unimplemented, match="registry token alone"):
        auth_entry(RegistryAuth(registry_token="token"))


def test_the_file_holds_the_credentials_for_the_registry() -> None:
    assert written(RegistryAuth("alice", "secret")) == {"auths": {"registry:5000": {"auth": basic("alice", "secret")}}}


def test_without_credentials_the_file_is_empty() -> None:
    assert written(None) == {"auths": {}}


def test_a_requests_credentials_win_over_the_settings_for_their_registry_alone(tmp_path: Path) -> None:
    base = tmp_path / "base.json"
    base.write_text(
        json.dumps({"auths": {"registry:5000": {"auth": "old"}, "mirror": {"auth": "kept"}}, "credHelpers": {}})
    )
    assert written(RegistryAuth("a", "b"), base) == {
        "auths": {"registry:5000": {"auth": basic("a", "b")}, "mirror": {"auth": "kept"}}
    }


@pytest.mark.parametrize("content", [None, b"", b"[]", b'{"auths": []}', b"\xff"])
def test_a_file_of_credentials_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    base = tmp_path / "base.json"
    if content is not None:
        base.write_bytes(content)
    with pytest.raises(FailedPrecondition, match=r"base\.json"):
        written(None, base)


_secret = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=":"), min_size=3, max_size=30)


@given(_secret, _secret, _secret)
def test_no_secret_of_a_request_is_shown_in_an_error(password: str, identity: str, registry: str) -> None:
    auth = RegistryAuth("alice", password, basic("bob", password + "2"), identity, registry)
    secrets = secrets_of(auth)
    said = f'time="now" level=fatal msg="x {password} {auth.auth} {identity} {registry} {basic("alice", password)} y"'
    report = diagnose(said, secrets).report()
    text = report.replace("***", "")
    fixed = diagnose('level=fatal msg="x      y"', ()).report()
    for secret in secrets:
        assert secret not in text or secret in fixed


def test_the_password_in_an_encoded_auth_is_a_secret() -> None:
    assert "hidden" in secrets_of(RegistryAuth(auth=basic("alice", "hidden")))
    assert secrets_of(RegistryAuth(auth="not base64")) == ("not base64",)
    assert secrets_of(None) == ()


def test_credentials_are_not_in_a_models_text() -> None:
    auth = RegistryAuth("user", "password", "auth", "identity", "registry")
    assert repr(auth) == "RegistryAuth()"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://alice:pw@registry/v2/", "https://***registry/v2/"),
        ("https://s3/blob?X-Signature=abc&x=y end", "https://s3/blob?*** end"),
        ("Authorization: Bearer abc.def end", "Authorization: Bearer *** end"),
        ("Authorization: Basic YTpi", "Authorization: Basic ***"),
        ("image name@sha256:abc", "image name@sha256:abc"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text: str, shown: str) -> None:
    assert scrub(text) == shown

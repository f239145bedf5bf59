"""Credentials of one pull: from the CRI request to the file that skopeo reads, and nowhere else.

The file follows containers-auth.json(5), is readable by its owner (skopeo's user) alone, and lives in the pull's own
directory, which goes with the pull.
"""

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from vmsandbox.errors import FailedPrecondition, InvalidArgument, Unimplemented
from vmsandbox.fs.opening import read_regular, reason
from vmsandbox.images.oci import MAX_DOCUMENT, Malformed, load_json, member
from vmsandbox.model import RegistryAuth


def authfile(registry: str, auth: RegistryAuth | None, base: Path | None) -> bytes:
    """Return the content of a file with the credentials for a registry, over those of the file `base`.

    Args:
        registry: host and port that `auth` is for; mirrors of it get no more than `base` has for them.
        auth: of the request; None: none.
        base: another file of this form.

    Raises:
        InvalidArgument: `auth` is malformed.
        Unimplemented: it holds a registry token only.
        FailedPrecondition: `base` cannot be read.
    """
    entries = _base_entries(base)
    entry = auth_entry(auth) if auth else {}
    if entry:
        entries[registry] = entry
    return json.dumps({"auths": entries}).encode()


def _base_entries(base: Path | None) -> dict[str, Any]:
    if base is None:
        return {}
    try:
        return member(load_json(read_regular(base, MAX_DOCUMENT, follow=True), str(base)), "auths", dict, str(base))
    except (OSError, Malformed) as error:
        raise FailedPrecondition(
            f"the credentials in {base} cannot be read: {reason(error)}", hint="see containers-auth.json(5)"
        ) from None


def auth_entry(auth: RegistryAuth) -> dict[str, str]:
    """The entry of an authfile; empty where the request holds no credentials.

    A name and password win over `auth`, as in containerd. An identity token is one that the registry's token
    server exchanges (OAuth 2 refresh token).
    """
    if auth.username or auth.password:
        return {"auth": _basic(auth.username, auth.password), **_identity(auth)}
    if auth.auth:
        return {"auth": _basic(*_split(auth.auth)), **_identity(auth)}
    if auth.identity_token:
        return {"auth": _basic("<token>", ""), **_identity(auth)}
    if auth.registry_token:
        raise Unimplemented(
            "a registry token alone cannot be used: skopeo takes one only on its command line, where all can read it",
            hint="give a user and password, or an identity token",
        )
    return {}


def _identity(auth: RegistryAuth) -> dict[str, str]:
    return {"identitytoken": auth.identity_token} if auth.identity_token else {}


def _basic(username: str, password: str) -> str:
    return base64.b64encode(f"{username}:{password}".encode()).decode()


def _split(encoded: str) -> tuple[str, str]:
    """User and password of the request's `auth`; old clients pad the password with NULs."""
    try:
        username, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        colon = ""
    if not colon:
        raise InvalidArgument("the registry credentials' auth is not the base64 of USER:PASSWORD")
    return username, password.strip("\0")


def secrets_of(auth: RegistryAuth | None) -> tuple[str, ...]:
    """Every string that must not be shown, longest first; short ones are left out, as they are in every text."""
    if auth is None:
        return ()
    known = [auth.password, auth.auth, auth.identity_token, auth.registry_token]
    try:
        entry = auth_entry(auth)
        known += [entry.get("auth", ""), _split(auth.auth)[1] if auth.auth else ""]
    except (InvalidArgument, Unimplemented):
        pass
    return tuple(sorted({secret for secret in known if len(secret) >= 3}, key=len, reverse=True))

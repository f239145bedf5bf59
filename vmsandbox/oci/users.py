"""User namespaces as a caller has them (config.json) as the model's; pure functions.

They are the machine's, and so the pod's: its containers' ids are the guest's from the first one of the mapping on, with
the numbers that they have on the host. So the files of a root that belong to mapped ids there are the container's own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vmsandbox.errors import InvalidArgument, Unimplemented
from vmsandbox.model import IdMapping, NamespaceMode, UserNamespace
from vmsandbox.oci.pods import Place


def user_namespace_of(linux: Mapping[str, Any], namespaces: Mapping[str, str], place: Place) -> UserNamespace | None:
    """Return the user namespace of a container's machine; None: its users are the guest's.

    One that a container joins by a path is the machine's, whatever mappings callers repeat beside it.

    Args:
        linux: of config.json.
        namespaces: the path of each namespace, by its type.
        place: where the container is to be.

    Raises:
        InvalidArgument: it has no mappings.
        Unimplemented: the machine is there, and has other users.
        ValueError, TypeError: the mappings are malformed.
    """
    wanted = "user" in namespaces
    if place.sandbox is None:
        return _mapped(linux) if wanted else None
    has = place.sandbox.config.namespaces.user
    if wanted != (has is not None) or (wanted and not namespaces["user"] and _mapped(linux) != has):
        raise Unimplemented(
            "the container has users of its own: containers that share a machine share its user namespace",
            field="linux.namespaces",
        )
    return has


def mappings_from_oci(mappings: Sequence[Mapping[str, Any]]) -> tuple[IdMapping, ...]:
    """Return mappings of ids. Raises KeyError, TypeError, ValueError: they are malformed."""
    return tuple(IdMapping(int(each["hostID"]), int(each["containerID"]), int(each["size"])) for each in mappings)


def _mapped(linux: Mapping[str, Any]) -> UserNamespace:
    uids, gids = (mappings_from_oci(linux.get(name) or ()) for name in ("uidMappings", "gidMappings"))
    if not (uids and gids):
        raise InvalidArgument("the user namespace has no mappings", field="linux.uidMappings")
    return UserNamespace(NamespaceMode.POD, uids, gids)

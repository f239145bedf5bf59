"""NamespaceOption and what hangs on it."""

from collections.abc import Iterable

from cri_api.v1 import api_pb2 as api

from vmsandbox.cri.convert import enums
from vmsandbox.model import IdMapping, Namespaces, UserNamespace


def namespaces_from_cri(wire: api.NamespaceOption) -> Namespaces:
    """Which namespaces are shared with whom; an absent message is POD for all, PID too, as in the CRI."""
    return Namespaces(
        network=enums.from_cri(enums.NAMESPACE_MODE, wire.network, "NamespaceOption.network"),
        pid=enums.from_cri(enums.NAMESPACE_MODE, wire.pid, "NamespaceOption.pid"),
        ipc=enums.from_cri(enums.NAMESPACE_MODE, wire.ipc, "NamespaceOption.ipc"),
        target_id=wire.target_id,
        user=_user(wire.userns_options) if wire.HasField("userns_options") else None,
    )


def namespaces_to_cri(model: Namespaces) -> api.NamespaceOption:
    """The inverse of `namespaces_from_cri`."""
    wire = api.NamespaceOption(
        network=enums.to_cri(enums.NAMESPACE_MODE, model.network),
        pid=enums.to_cri(enums.NAMESPACE_MODE, model.pid),
        ipc=enums.to_cri(enums.NAMESPACE_MODE, model.ipc),
        target_id=model.target_id,
    )
    if model.user is not None:
        wire.userns_options.mode = enums.to_cri(enums.NAMESPACE_MODE, model.user.mode)
        wire.userns_options.uids.extend(id_mappings_to_cri(model.user.uids))
        wire.userns_options.gids.extend(id_mappings_to_cri(model.user.gids))
    return wire


def id_mappings_from_cri(wire: Iterable[api.IDMapping]) -> tuple[IdMapping, ...]:
    """User or group ids."""
    return tuple(IdMapping(item.host_id, item.container_id, item.length) for item in wire)


def id_mappings_to_cri(model: Iterable[IdMapping]) -> list[api.IDMapping]:
    """The inverse of `id_mappings_from_cri`."""
    return [api.IDMapping(host_id=m.host_id, container_id=m.container_id, length=m.length) for m in model]


def _user(wire: api.UserNamespace) -> UserNamespace:
    mode = enums.from_cri(enums.NAMESPACE_MODE, wire.mode, "UserNamespace.mode")
    return UserNamespace(mode, id_mappings_from_cri(wire.uids), id_mappings_from_cri(wire.gids))

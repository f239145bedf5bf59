"""The features of a machine's agent, which may be of an older or a newer version of vmsandbox."""

from vmsandbox.errors import Unimplemented
from vmsandbox.protocol.features import BEFORE_FEATURES, FEATURES, needed
from vmsandbox.protocol.messages import FEATURES_NAMED, HelloReply, Request


def has(peer: HelloReply, feature: str) -> bool:
    """Return whether an agent has one of `FEATURES`."""
    return feature in (peer.features if peer.version >= FEATURES_NAMED else BEFORE_FEATURES[peer.version])


def check(peer: HelloReply, request: Request) -> None:
    """Raise Unimplemented where an agent is known not to have a request's method, or a field that it sets.

    What an agent does not name is not asked of it. Before agents named anything, a method is found out by asking.
    """
    if peer.version >= FEATURES_NAMED and request.METHOD not in peer.features:
        raise lacking(peer, request.METHOD)
    if all(has(peer, feature) for feature in FEATURES):
        return
    for feature in sorted(needed(request)):
        if not has(peer, feature):
            raise lacking(peer, f"{feature} of {request.METHOD}")


def lacking(peer: HelloReply, what: str) -> Unimplemented:
    """Return the error that says so, and what to do."""
    return Unimplemented(
        f"the agent in this machine does not have {what} (build {peer.build}, protocol version {peer.version}): "
        "another version of vmsandbox has started the machine",
        hint="make the pod again: its new machine has the agent of this version",
    )

"""The session with a guest's agent: dialled, greeted, dialled again after a loss, until its owner closes it.

A `Session` has the agent carry requests out, and hands its events on, in order and each once. `secret_offered` gives a
booting machine the secret that both ends then prove to know.
"""

from vmsandbox.guest.session.events import EventHandler
from vmsandbox.guest.session.features import has as has_feature
from vmsandbox.guest.session.secret import secret_offered
from vmsandbox.guest.session.session import Session
from vmsandbox.guest.session.session_state import RunState

__all__ = ["EventHandler", "RunState", "Session", "has_feature", "secret_offered"]

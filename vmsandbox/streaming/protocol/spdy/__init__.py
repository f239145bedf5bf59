"""SPDY/3.1 without I/O, as far as Kubernetes uses it.

Specification: draft-mbelshe-httpbis-spdy-00 (SPDY/3), and "SPDY Protocol - Draft 3.1" (chromium.org), which adds the
window of the whole session. Left out is what is about HTTP: the names of request headers, server push, priorities,
credentials. `frames` are the bytes, which `frame_reader` cuts, `headers` the compressed header blocks, `streams` those
that are open, `windows` flow control, `connection` one end of a session.
"""

from vmsandbox.streaming.protocol.spdy.connection import SpdyConnection

__all__ = ["SpdyConnection"]

"""Exec, attach and port-forward for clients at a URL, over SPDY/3.1 and WebSocket (docs/streaming.md).

`server` and `client` are for others. What both stand on is `protocol`, which does no I/O, and `io`, which knows no
protocol.
"""

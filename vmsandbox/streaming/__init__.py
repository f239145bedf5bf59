"""Exec, attach and port-forward for clients at a URL, over SPDY/3.1 and WebSocket (docs/streaming.md)."""

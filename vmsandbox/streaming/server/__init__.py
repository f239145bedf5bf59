"""The streaming server: it gives out URLs, and serves exec, attach and port-forward at each of them once."""

"""The CRI (runtime.v1), which is gRPC on a Unix socket: the server that kubelets speak to, and our own client of it.

For others are `server`, `client`, `delegation` (pods of another runtime behind the same socket) and `pod_runtime` (the
daemon, for `vmsandbox run`). They are faces of their own, so that a command that asks the daemon loads no server.
"""

import os

# gRPC's C core reads its environment once, when it is loaded.
#
# It is not to stand by at forks: libvirt forks in threads of its own where it is embedded in this process, and what
# gRPC then does in the child, before QEMU is executed there, ends it with a signal 11.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What it says below errors is of no use to whom reads our log, or runs our commands: every client that goes away is
# a line, and so is every daemon that ends.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message, as in the kubelet for its own end."""

CHANNEL_OPTIONS = (("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT))
"""The options of gRPC for servers and channels."""

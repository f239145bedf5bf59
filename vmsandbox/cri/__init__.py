"""The CRI server: the kubelet's runtime and image services (runtime.v1) over gRPC on a Unix socket."""

import os

# gRPC's C core reads its environment once, when it is loaded.
#
# It is not to stand by at forks: libvirt forks in threads of its own where it is embedded in this process, and what
# gRPC then does in the child, before QEMU is executed there, ends it with a signal 11.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
# What it says below errors is of no use to whom reads our log, or runs our commands: every client that goes away is
# a line, and so is every daemon that ends.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

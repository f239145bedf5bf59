"""The CRI server: the kubelet's runtime and image services (runtime.v1) over gRPC on a Unix socket."""

import os

# gRPC's C core reads it once, when it is loaded. What it says below errors is of no use to whom reads our log, or runs
# our commands: every client that goes away, and every daemon that ends, is a line.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

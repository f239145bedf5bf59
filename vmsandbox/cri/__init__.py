"""The CRI server: the kubelet's runtime and image services (runtime.v1) over gRPC on a Unix socket."""

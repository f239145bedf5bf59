"""The command `vmsandbox-oci`, which podman and other callers use as their OCI runtime (docs/oci.md).

It asks the daemon, and leaves a small process for each container that stands for it on the host. It is called several
times for a container, and has to be quick: it imports the standard library alone, and little of that.
"""

"""The messages that cross vsock between the host and the agent; they need only the standard library."""

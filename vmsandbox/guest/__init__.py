"""The host end of the agent protocol, and the vsock transports under it."""

"""What crosses vsock between the host and the agent, defined once; the standard library only."""

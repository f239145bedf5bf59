"""Commands on pods and containers of the daemon and of every `run`."""

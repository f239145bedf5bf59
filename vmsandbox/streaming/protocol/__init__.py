"""The protocols of exec, attach and port-forward, without I/O: bytes go in, events come out, calls make bytes."""

"""Protobuf to model and back, nothing else: pure functions, one module per family of messages."""

"""Settings that both ends of a CRI connection share."""

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message, as the kubelet has it for its own end."""

OPTIONS = (("grpc.max_receive_message_length", MESSAGE_LIMIT), ("grpc.max_send_message_length", MESSAGE_LIMIT))
"""The options of gRPC for servers and channels."""

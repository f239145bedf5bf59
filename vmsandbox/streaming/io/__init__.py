"""What streaming needs of sockets and of the event loop, on the server's side and on the client's."""

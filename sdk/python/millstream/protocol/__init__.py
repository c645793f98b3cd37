"""What clients and servers say to each other, without I/O: no sockets, no tasks, no waiting."""

"""The thin shells that carry out what the cores decide: loops, processes, files, sockets."""

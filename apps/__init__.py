"""What people touch: the command line, and later the chat, profiler and server."""

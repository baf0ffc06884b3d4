"""What one can do: each command is one row of `table` and one function in a module beside it.

A key, a slash command, the palette and the help screen all come from that row.
"""

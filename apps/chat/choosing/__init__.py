"""What there is to load on this machine, and whether it fits now; nothing here draws anything."""

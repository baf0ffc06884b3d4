"""Engines that run an artifact, behind one protocol."""

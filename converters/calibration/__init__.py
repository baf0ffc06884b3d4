"""Calibration: a text through the engine, and what it shows of each matrix; no torch."""

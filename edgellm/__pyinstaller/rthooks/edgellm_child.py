"""Runs before the app's own script: a process started as a child of edgellm never gets there."""

import sys

if sys.argv[1:2] == ["--edgellm-child"]:
    import edgellm  # noqa: F401 (does the child's work and exits)

"""Run edgellm as `python -m edgellm`."""

from edgellm.apps.cli import main

if __name__ == "__main__":
    main()

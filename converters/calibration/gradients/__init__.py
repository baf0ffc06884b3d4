"""Gradients of a model's loss with one layer in memory at a time; needs the extra `fisher`."""

from importlib.util import find_spec

from edgellm.errors import UsageError

GRADIENT_WINDOWS = 64  # of a text, spread evenly: gains settle within a few per cent


def require_torch(mode: str) -> None:
    """Raises UsageError where PyTorch, which a sensitivity mode computes with, is absent."""
    if find_spec("torch") is None:
        raise UsageError(
            f"--sensitivity {mode} needs PyTorch, which is not installed; "
            "add it with: pip install 'edgellm[fisher]'"
        )

"""From checkpoint to artifact: one sub-package per output format."""

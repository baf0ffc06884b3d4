"""Memory and speed of `convert` on a generated 1 GiB checkpoint."""

"""Model families: each is a declaration; `read_spec` turns a checkpoint into a ModelSpec."""

from edgellm.families.family import Family
from edgellm.families.reader import read_spec
from edgellm.families.registry import FAMILIES

__all__ = ["FAMILIES", "Family", "read_spec"]

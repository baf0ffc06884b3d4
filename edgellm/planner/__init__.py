"""Decides a conversion: a format for every tensor, the KV cache, the ubatch, inside a budget."""

from edgellm.planner.choices import make_plan, settle_plan, uniform_plan
from edgellm.planner.search import SPEED_WORTH, UBATCH_WORTH

__all__ = ["SPEED_WORTH", "UBATCH_WORTH", "make_plan", "settle_plan", "uniform_plan"]

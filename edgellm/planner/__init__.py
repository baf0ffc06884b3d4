"""Decides a conversion: a format for every tensor, the KV cache, the ubatch, inside a budget."""

from edgellm.planner.choices import UBATCH_WORTH, make_plan, settle_plan, uniform_plan

__all__ = ["UBATCH_WORTH", "make_plan", "settle_plan", "uniform_plan"]

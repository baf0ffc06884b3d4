"""What a coarser tensor or cache costs a model: predicted KL divergence, in nats per token.

One file a mode; each fulfils `Sensitivity`, so the planner does not know which one judges.
"""

from edgellm.sensitivity.caches import Caches, MeasuredCaches, StaticCaches
from edgellm.sensitivity.judge import Sensitivity
from edgellm.sensitivity.static import StaticSensitivity

__all__ = ["Caches", "MeasuredCaches", "Sensitivity", "StaticCaches", "StaticSensitivity"]

"""Sensitivity from noise: each gain is the divergence that noise at one output made."""

from typing import ClassVar

from edgellm.sensitivity.gains import GainSensitivity


class NoiseSensitivity(GainSensitivity):
    """Gains measured forward only, in the engine; all outputs of a matrix count alike."""

    name: ClassVar[str] = "noise"

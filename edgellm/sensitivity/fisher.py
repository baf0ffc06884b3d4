"""Sensitivity from gradients: each gain is the Fisher information about one output."""

from typing import ClassVar

from edgellm.sensitivity.gains import GainSensitivity


class FisherSensitivity(GainSensitivity):
    """Gains computed backward, with a weight for every output of a matrix."""

    name: ClassVar[str] = "fisher"

"""Text to run through tiny models: enough for every measurement, and quick."""

from edgellm.bundled import bundled_calibration_text

SHORT_TEXT = bundled_calibration_text()[:6_000]

"""Sliding-window attention, as each family's config.json states it."""

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, UnsupportedError
from edgellm.families.family import Family, SlidingWindow
from edgellm.json_file import show

_LAYER_TYPES = ("full_attention", "sliding_attention")
_DEFAULT_FIRST_LAYER = 28  # transformers' max_window_layers for Qwen2 and Qwen3


def read_sliding_window(config: Fields, family: Family, layers: int) -> int | None:
    """Tokens that the windowed layers attend to; None when every layer attends to everything."""
    if family.sliding_window is SlidingWindow.NEVER:
        return None
    if family.sliding_window is SlidingWindow.CHOSEN_LAYERS and not _any_layer(config, layers):
        return None
    # A null means no window; only a missing key means the family's default.
    if config.mentions("sliding_window"):
        return config.optional_integer("sliding_window")
    return family.default_sliding_window


def _any_layer(config: Fields, layers: int) -> bool:
    """Whether any layer of a Qwen model uses its window."""
    enabled = config.boolean("use_sliding_window", False)
    if not config.has("layer_types"):
        first = config.integer("max_window_layers", _DEFAULT_FIRST_LAYER, low=0)
        return enabled and first < layers
    types = config.texts("layer_types")
    if len(types) != layers:
        raise FormatError(config.path, f"layer_types lists {len(types)} of {layers} layers")
    other = next((kind for kind in types if kind not in _LAYER_TYPES), None)
    if other is not None:
        raise UnsupportedError(
            f"{config.path}: layer_types entry {show(other)} is not supported", _LAYER_TYPES
        )
    windowed = "sliding_attention" in types
    if windowed and not enabled:
        raise FormatError(
            config.path, "layer_types has sliding_attention but use_sliding_window is not true"
        )
    return windowed

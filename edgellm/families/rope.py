"""Rotary position settings, as transformers 4 and 5 write them."""

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, UnsupportedError
from edgellm.json_file import show
from edgellm.spec import RopeScaling

DEFAULT_THETA = 10_000.0
_KINDS = ("default", "linear", "llama3")


def read_rope(config: Fields, context_length: int) -> tuple[float, RopeScaling | None]:
    """rope_theta, and how positions are stretched.

    transformers 4 writes rope_theta and rope_scaling, 5 writes both inside rope_parameters.
    Raises FormatError when the places disagree, UnsupportedError for other kinds of scaling.
    """
    written = (config.section(key) for key in ("rope_parameters", "rope_scaling"))
    sections = [section for section in written if section is not None]
    _refuse_partial_rotation([config, *sections])
    _refuse_nested(sections)
    theta = _theta([config, *sections])
    scalings = {_scaling(section, config, context_length) for section in sections}
    if len(scalings) > 1:
        raise FormatError(config.path, "rope_parameters and rope_scaling contradict each other")
    return theta, scalings.pop() if scalings else None


def _theta(places: list[Fields]) -> float:
    found = {
        f"{place.prefix}rope_theta": place.number("rope_theta", low=1e-3, high=1e15)
        for place in places
        if place.has("rope_theta")
    }
    if len(set(found.values())) > 1:
        said = " and ".join(f"{name} {value:g}" for name, value in found.items())
        raise FormatError(places[0].path, f"{said} contradict each other")
    return next(iter(found.values()), DEFAULT_THETA)


def _scaling(section: Fields, config: Fields, context_length: int) -> RopeScaling | None:
    kind = section.text("rope_type") or section.text("type") or "default"
    if kind == "default":
        return None
    if kind not in _KINDS:
        raise UnsupportedError(
            f"{config.path}: {section.prefix}rope_type {show(kind)} is not supported", _KINDS
        )
    factor = section.number("factor", low=1e-3, high=1e6)
    if kind == "linear":
        return RopeScaling("linear", factor)
    return _llama3(section, config, factor, context_length)


def _llama3(section: Fields, config: Fields, factor: float, context_length: int) -> RopeScaling:
    low = section.number("low_freq_factor", low=1e-3, high=1e6)
    high = section.number("high_freq_factor", low=1e-3, high=1e6)
    if high <= low:
        raise section.fault("high_freq_factor", f"more than low_freq_factor, {low:g}")
    key = "original_max_position_embeddings"
    place = config if config.has(key) else section
    return RopeScaling("llama3", factor, low, high, place.integer(key, context_length))


def _refuse_partial_rotation(places: list[Fields]) -> None:
    for place in places:
        share = place.optional_number("partial_rotary_factor", low=0, high=1)
        if share not in (None, 1.0):
            raise UnsupportedError(
                f"{place.path}: {place.prefix}partial_rotary_factor {share:g} is not supported",
                ("1, the whole head rotated",),
            )


def _refuse_nested(sections: list[Fields]) -> None:
    for section in sections:
        nested = next((key for key, value in section.values.items() if isinstance(value, dict)), "")
        if nested:
            raise UnsupportedError(
                f"{section.path}: {section.prefix}{nested}: RoPE per layer type is not supported",
                ("one setting for all layers",),
            )

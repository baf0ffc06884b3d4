"""The families edgellm knows, and which one a config.json describes."""

from types import MappingProxyType

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, UnsupportedError
from edgellm.families.family import Family
from edgellm.families.llama import LLAMA
from edgellm.families.mistral import MISTRAL
from edgellm.families.qwen2 import QWEN2
from edgellm.families.qwen3 import QWEN3
from edgellm.json_file import show

FAMILIES = MappingProxyType({family.name: family for family in (LLAMA, MISTRAL, QWEN2, QWEN3)})


def find_family(config: Fields) -> Family:
    """The family of a config.json, by model_type and architectures.

    Raises UnsupportedError for any other model, FormatError when the two keys disagree.
    """
    model_type = config.text("model_type")
    architectures = config.texts("architectures")
    if model_type is None and not architectures:
        raise FormatError(config.path, "model_type is missing; expected one such as llama")
    for family in FAMILIES.values():
        if model_type in family.model_types or (
            model_type is None and architectures[0] in family.architectures
        ):
            _check_architecture(config, family, architectures)
            return family
    what = f"model_type {show(model_type)}" if model_type else f"architecture {architectures[0]!r}"
    raise _unsupported(config, what)


def _check_architecture(config: Fields, family: Family, architectures: tuple[str, ...]) -> None:
    other = next((name for name in architectures if name not in family.architectures), None)
    if other is not None:
        raise _unsupported(config, f"architecture {show(other)} of model_type {family.name}")


def _unsupported(config: Fields, what: str) -> UnsupportedError:
    have = [f"{family.title} ({family.architectures[0]})" for family in FAMILIES.values()]
    nested = " (text_config: a multimodal model)" if config.has("text_config") else ""
    return UnsupportedError(f"{config.path}: {what}{nested} is not supported", have)

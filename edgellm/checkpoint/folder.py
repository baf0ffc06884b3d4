"""A Hugging Face checkpoint folder, opened safely."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgellm.checkpoint.contained import contained_file
from edgellm.checkpoint.fields import Fields
from edgellm.checkpoint.generation import GenerationConfig, read_generation_config
from edgellm.checkpoint.safetensors_header import StoredTensor
from edgellm.checkpoint.weights import read_weights
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.json_file import os_reason, read_json, show

if TYPE_CHECKING:
    from edgellm.checkpoint.rows import F32Array

# Keys that tell transformers to run code from elsewhere; edgellm never follows them.
_CODE_KEYS = ("auto_map", "custom_code", "trust_remote_code", "_attn_implementation_internal")


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """The tokenizer's files; None where the folder has none."""

    tokenizer_model: Path | None  # sentencepiece
    tokenizer_json: Path | None  # the tokenizers library
    tokenizer_config: Path | None
    chat_template: Path | None
    added_tokens: Path | None
    special_tokens_map: Path | None

    @property
    def present(self) -> tuple[Path, ...]:
        found = (
            self.tokenizer_model,
            self.tokenizer_json,
            self.tokenizer_config,
            self.chat_template,
            self.added_tokens,
            self.special_tokens_map,
        )
        return tuple(path for path in found if path is not None)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint folder holds; the weights stay on disk until `read_rows`."""

    folder: Path  # as given
    config: Fields
    generation_config: GenerationConfig
    stored: Mapping[str, StoredTensor]
    tokenizer: TokenizerFiles
    files: tuple[Path, ...]  # every file that decides the result
    notices: tuple[str, ...]  # what was ignored, and why

    @property
    def name(self) -> str:
        """What to call the model: the folder's name, or the repository's in a Hub cache."""
        folder = self.folder.resolve()
        if folder.parent.name == "snapshots":
            return folder.parent.parent.name.split("--")[-1]
        return folder.name

    def read_rows(self, name: str, start: int, stop: int) -> "F32Array":
        """Rows [start, stop) of a tensor, exact in float32: [stop - start, columns].

        Opens the file for this one read, so threads may call it at once.
        """
        from edgellm.checkpoint.rows import read_rows

        return read_rows(self.stored[name], start, stop)


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a checkpoint folder; reads the JSON files and the safetensors headers only.

    Raises InputError for what cannot be read, FormatError for what is broken, UnsupportedError for
    what is something else: pickles, adapters, GGUF.
    """
    names = _entries(path)
    _refuse_adapter(path, names)
    config = Fields(contained_file(path, "config.json"), read_json(path / "config.json"))
    _refuse_quantized(config)
    generation = _optional(path, names, "generation_config.json")
    weights = read_weights(path, names)
    tokenizer = _tokenizer_files(path, names)
    deciding = (config.path, *filter(None, (generation,)), *weights.files, *tokenizer.present)
    return Checkpoint(
        folder=path,
        config=config,
        generation_config=read_generation_config(
            Fields(generation, read_json(generation)) if generation else None, config
        ),
        stored=MappingProxyType(weights.tensors),
        tokenizer=tokenizer,
        files=deciding,
        notices=(*weights.notices, *_code_notices(config, names)),
    )


def _entries(path: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in path.iterdir())
    except NotADirectoryError as error:
        raise _not_a_folder(path) from error
    except (OSError, ValueError) as error:
        problem = f"cannot be opened as a checkpoint folder: {os_reason(error)}"
        raise InputError(f"{path}: {problem}") from error


def _not_a_folder(path: Path) -> InputError:
    if path.suffix == ".gguf":
        return UnsupportedError(
            f"{path}: is a GGUF file",
            ("a folder with config.json and safetensors",),
            f"It needs no conversion: edgellm run {path}",
        )
    return InputError(f"{path}: is a file; expected a folder with config.json and safetensors")


def _refuse_adapter(folder: Path, names: Sequence[str]) -> None:
    if "adapter_config.json" in names:
        raise UnsupportedError(
            f"{folder}: is an adapter (adapter_config.json), not a model",
            ("whole checkpoints",),
            "Merge it into its base model first: merge_and_unload() in peft",
        )
    if "config.json" not in names:
        raise FormatError(folder, "has no config.json; expected a Hugging Face checkpoint folder")


def _refuse_quantized(config: Fields) -> None:
    quantization = config.section("quantization_config")
    if quantization is not None:
        method = quantization.text("quant_method") or "an unnamed method"
        raise UnsupportedError(
            f"{config.path}: quantization_config: weights already quantized with {show(method)}",
            ("F32, F16 and BF16 weights",),
            "Use the checkpoint that this one was quantized from",
        )


def _optional(folder: Path, names: Sequence[str], name: str) -> Path | None:
    return contained_file(folder, name) if name in names else None


def _tokenizer_files(folder: Path, names: Sequence[str]) -> TokenizerFiles:
    return TokenizerFiles(
        tokenizer_model=_optional(folder, names, "tokenizer.model"),
        tokenizer_json=_optional(folder, names, "tokenizer.json"),
        tokenizer_config=_optional(folder, names, "tokenizer_config.json"),
        chat_template=_optional(folder, names, "chat_template.jinja"),
        added_tokens=_optional(folder, names, "added_tokens.json"),
        special_tokens_map=_optional(folder, names, "special_tokens_map.json"),
    )


def _code_notices(config: Fields, names: Sequence[str]) -> list[str]:
    keys = [
        f"config.json: {key} ignored, edgellm runs no code from a checkpoint"
        for key in _CODE_KEYS
        if config.mentions(key)
    ]
    files = [
        f"{name}: ignored, edgellm runs no code from a checkpoint"
        for name in names
        if name.endswith(".py")
    ]
    return keys + files

"""A checkpoint's config.json and tensors, checked against each other, as a ModelSpec."""

from edgellm.checkpoint import Checkpoint, Fields, TokenizerFiles
from edgellm.errors import FormatError, UnsupportedError
from edgellm.families.dimensions import read_dimensions
from edgellm.families.registry import find_family
from edgellm.families.rope import read_rope
from edgellm.families.tensors import find_head, ignored_buffers, match_tensors
from edgellm.families.windows import read_sliding_window
from edgellm.json_file import show
from edgellm.spec import ModelSpec

MAX_CONTEXT = 2**27  # tokens
_SILU = ("silu", "swish")


def read_spec(checkpoint: Checkpoint) -> ModelSpec:
    """What the model is; the only place where config.json becomes a ModelSpec.

    Raises UnsupportedError for another kind of model, FormatError where config.json is broken or
    does not describe the tensors that are stored.
    """
    config = checkpoint.config
    family = find_family(config)
    _refuse_other_activations(config)
    dims = read_dimensions(config, family)
    _check_token_ids(checkpoint, dims.vocab_size)
    context_length = config.integer(
        "max_position_embeddings", family.default_context, high=MAX_CONTEXT
    )
    rope_theta, rope_scaling = read_rope(config, context_length)
    head = find_head(checkpoint, config.boolean("tie_word_embeddings", False))
    return ModelSpec(
        family=family.name,
        name=checkpoint.name,
        layers=dims.layers,
        hidden_size=dims.hidden_size,
        ffn_size=dims.ffn_size,
        heads=dims.heads,
        kv_heads=dims.kv_heads,
        head_dim=dims.head_dim,
        vocab_size=dims.vocab_size,
        context_length=context_length,
        norm_epsilon=config.number("rms_norm_eps", 1e-6, low=0, high=1),
        rope_theta=rope_theta,
        rope_scaling=rope_scaling,
        tied_embeddings=head.output is None,
        sliding_window=read_sliding_window(config, family, dims.layers),
        tensors=match_tensors(checkpoint, family, dims, head),
        sentencepiece=_uses_sentencepiece(checkpoint.tokenizer),
        notices=(*head.notices, *ignored_buffers(checkpoint)),
    )


def _uses_sentencepiece(files: TokenizerFiles) -> bool:
    """tokenizer.json, which may hold either kind of vocabulary, wins where both are there."""
    return files.tokenizer_json is None and files.tokenizer_model is not None


def _refuse_other_activations(config: Fields) -> None:
    activation = config.text("hidden_act") or "silu"
    if activation not in _SILU:
        raise UnsupportedError(
            f"{config.path}: hidden_act {show(activation)} is not supported", ("silu",)
        )


def _check_token_ids(checkpoint: Checkpoint, vocab_size: int) -> None:
    generation = checkpoint.generation_config
    ids = [("eos_token_id", token_id) for token_id in generation.eos_token_ids]
    for name, token_id in [("bos_token_id", generation.bos_token_id), *ids]:
        if token_id is not None and token_id >= vocab_size:
            raise FormatError(
                checkpoint.folder,
                f"{name} {token_id} is outside the vocabulary of {vocab_size} tokens",
            )

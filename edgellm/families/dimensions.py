"""The sizes of a model, read from config.json within sane limits."""

from dataclasses import dataclass

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError
from edgellm.families.family import Dim, Family

MAX_LAYERS = 1000
MAX_WIDTH = 2**20  # of the residual stream, the feed-forward layer and all heads together
MAX_HEADS = 2**14
MAX_VOCAB = 2**24


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Everything a tensor's shape can depend on."""

    layers: int
    vocab_size: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int
    head_dim: int

    def length(self, dim: Dim) -> int:
        """How long a dimension of a tensor is."""
        return {
            Dim.VOCAB: self.vocab_size,
            Dim.HIDDEN: self.hidden_size,
            Dim.FFN: self.ffn_size,
            Dim.QUERY: self.heads * self.head_dim,
            Dim.KEY_VALUE: self.kv_heads * self.head_dim,
            Dim.HEAD: self.head_dim,
        }[dim]


def read_dimensions(config: Fields, family: Family) -> Dimensions:
    """Read the sizes; raises FormatError for one that is missing, absurd or does not divide."""
    hidden_size = config.integer("hidden_size", high=MAX_WIDTH)
    heads = config.integer("num_attention_heads", high=MAX_HEADS)
    return Dimensions(
        layers=config.integer("num_hidden_layers", high=MAX_LAYERS),
        vocab_size=config.integer("vocab_size", high=MAX_VOCAB),
        hidden_size=hidden_size,
        ffn_size=config.integer("intermediate_size", high=MAX_WIDTH),
        heads=heads,
        kv_heads=_kv_heads(config, family, heads),
        head_dim=_head_dim(config, family, hidden_size, heads),
    )


def _kv_heads(config: Fields, family: Family, heads: int) -> int:
    # Where the key is left out transformers assumes the family's default; a null means `heads`.
    default = None if config.mentions("num_key_value_heads") else family.default_kv_heads
    kv_heads = config.integer("num_key_value_heads", default or heads, high=MAX_HEADS)
    if heads % kv_heads:
        raise FormatError(
            config.path,
            f"num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}",
        )
    return kv_heads


def _head_dim(config: Fields, family: Family, hidden_size: int, heads: int) -> int:
    default = None if config.mentions("head_dim") else family.default_head_dim
    if not config.has("head_dim") and default is None and hidden_size % heads:
        raise FormatError(
            config.path,
            f"hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}, "
            "and head_dim is missing",
        )
    head_dim = config.integer("head_dim", default or hidden_size // heads, high=MAX_WIDTH // heads)
    if head_dim % 2:
        raise FormatError(config.path, f"head_dim is {head_dim}; rotary positions need it even")
    return head_dim

"""A made-up machine whose decode speed can be told in one's head."""

from edgellm.quant_tables import load_tables
from edgellm.speed import DecodeShape, DecodeSpeed

_TABLES = load_tables()
# It reads a byte a nanosecond, and takes a tenth of that for each cached token.
BYTES_TAKE_TIME = DecodeSpeed(
    threads=1,
    shape=DecodeShape(heads=8, kv_heads=2, head_dim=64, weights_bytes=1 << 20),
    weight_seconds={name: f.bits_per_weight / 8e9 for name, f in _TABLES.weight_formats.items()},
    attention_seconds={key: dict.fromkeys(_TABLES.kv_formats, 1e-10) for key in _TABLES.kv_formats},
    layer_seconds=0.0,
    token_seconds=0.0,
    spread=0.0,
)

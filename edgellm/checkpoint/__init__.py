"""Reading a Hugging Face checkpoint: JSON, safetensors headers, rows of weights."""

from edgellm.checkpoint.fields import Fields
from edgellm.checkpoint.folder import Checkpoint, TokenizerFiles, open_checkpoint
from edgellm.checkpoint.generation import GenerationConfig
from edgellm.checkpoint.safetensors_header import StoredTensor

__all__ = [
    "Checkpoint",
    "Fields",
    "GenerationConfig",
    "StoredTensor",
    "TokenizerFiles",
    "open_checkpoint",
]

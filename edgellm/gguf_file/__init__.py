"""Reading a GGUF file from a stranger: everything is checked before any library opens it."""

from edgellm.gguf_file.reader import TYPE_BLOCKS, GGUFFile, GGUFTensor, read_gguf

__all__ = ["TYPE_BLOCKS", "GGUFFile", "GGUFTensor", "read_gguf"]

"""llama-cpp-python's low-level module, imported without the package around it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llama_cpp.llama_cpp as llama
else:
    from edgellm.lone_import import import_alone

    llama = import_alone("llama_cpp.llama_cpp")

__all__ = ["llama"]

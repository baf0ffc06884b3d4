"""Importing one module of a package without the package's own `__init__`."""

import sys
from importlib import import_module
from importlib.util import find_spec
from threading import Lock
from types import ModuleType

_LOCK = Lock()


def import_alone(name: str) -> ModuleType:
    """Import the module `name`, such as "package.module", and not what the package imports.

    llama_cpp's `__init__` takes 20 to 27 MiB and most of a second for a class edgellm has no use
    for. Whoever imports the package itself later gets the whole of it, and the same module.
    Raises ModuleNotFoundError where the package is not installed.
    """
    package = name.partition(".")[0]
    with _LOCK:
        if package in sys.modules or name in sys.modules:
            return import_module(name) if name not in sys.modules else sys.modules[name]
        spec = find_spec(package)
        if spec is None or spec.submodule_search_locations is None:
            raise ModuleNotFoundError(f"No module named {package!r}", name=package)
        stand_in = ModuleType(package)
        stand_in.__path__ = list(spec.submodule_search_locations)
        sys.modules[package] = stand_in
        try:
            return import_module(name)
        finally:
            del sys.modules[package]

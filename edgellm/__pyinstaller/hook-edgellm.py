"""What PyInstaller's analysis cannot see: names that edgellm imports late, tables, llama.cpp."""

from PyInstaller.utils.hooks import (
    collect_data_files,
    collect_dynamic_libs,
    collect_submodules,
    copy_metadata,
)

hiddenimports = [
    *collect_submodules("edgellm", lambda name: "__pyinstaller" not in name),
    "llama_cpp.llama_cpp",
]
datas = [
    *collect_data_files("edgellm", excludes=["__pyinstaller"]),
    *copy_metadata("llama-cpp-python"),
]
binaries = collect_dynamic_libs("llama_cpp")
# Packages edgellm can do without; where they are installed, other libraries still draw them in, and
# an app that does not want them says --exclude-module torch.
excludedimports = ["matplotlib", "torch", "transformers"]

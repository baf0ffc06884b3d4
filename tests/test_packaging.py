"""The wheel must hold the whole tree, and only under `edgellm`."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("apps", "converters", "quant_tables", "runtimes")


def declared_packages() -> set[str]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        return set(tomllib.load(file)["tool"]["setuptools"]["packages"])


def packages_on_disk() -> set[str]:
    found = set()
    for part in ("edgellm", *PARTS):
        prefix = () if part == "edgellm" else ("edgellm",)
        for init in (ROOT / part).rglob("__init__.py"):
            folder = init.parent.relative_to(ROOT)
            if not any((ROOT / above).is_symlink() for above in (folder, *folder.parents)):
                found.add(".".join((*prefix, *folder.parts)))
    return found


def test_every_package_on_disk_is_declared() -> None:
    assert declared_packages() == packages_on_disk()


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
@pytest.mark.parametrize("part", PARTS)
def test_each_link_mirrors_the_package_mapping(part: str) -> None:
    assert (ROOT / "edgellm" / part).readlink() == Path("..") / part


def tracked_files() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [path for path in listed.stdout.split("\n") if path and (ROOT / path).exists()]


def test_the_wheel_installs_only_edgellm_and_all_of_it(tmp_path: Path) -> None:
    # Built from a copy: setuptools would pack what an earlier build left in the checkout.
    for path in tracked_files():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path, follow_symlinks=False)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    outside = {name for name in names if not name.startswith("edgellm")}
    assert outside == set()
    parts = [path for path in tracked_files() if path.split("/")[0] in ("edgellm", *PARTS)]
    files = [path for path in parts if not (ROOT / path).is_symlink()]
    expected = {path if path.startswith("edgellm/") else f"edgellm/{path}" for path in files}
    assert expected <= names

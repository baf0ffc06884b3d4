"""The wheel must hold the whole tree, and only under `edgellm`."""

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


def test_the_wheel_installs_only_edgellm_and_all_of_it(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*build, str(ROOT)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"edgellm"}
    tracked = subprocess.run(
        ["git", "ls-files", "edgellm", *PARTS], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    expected = {path if path.startswith("edgellm/") else f"edgellm/{path}" for path in tracked}
    links = {f"edgellm/{part}" for part in PARTS}
    assert expected - links <= set(names)

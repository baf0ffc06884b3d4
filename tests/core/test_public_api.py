from pathlib import Path

import edgellm
from edgellm.bundled import bundled_checkpoint


def test_the_public_names_are_few_sorted_and_all_there() -> None:
    assert len(edgellm.__all__) <= 15
    assert edgellm.__all__ == sorted(edgellm.__all__)
    assert all(getattr(edgellm, name) is not None for name in edgellm.__all__)


def test_nothing_else_is_public() -> None:
    own = {name for name in vars(edgellm) if not name.startswith("_")}
    imported = {"import_module", "MappingProxyType", "sys", "TYPE_CHECKING"}
    submodules = {path.stem for path in Path(edgellm.__file__).parent.iterdir()}
    assert own - imported - submodules <= set(edgellm.__all__)


def test_a_checkpoint_becomes_an_artifact_through_the_public_names(tmp_path: Path) -> None:
    checkpoint = edgellm.open_checkpoint(bundled_checkpoint())
    spec, tables = edgellm.read_spec(checkpoint), edgellm.load_tables()
    plan = edgellm.make_plan(spec, edgellm.Budget(256, memory_bytes=2**30), tables)
    artifact = edgellm.convert(checkpoint, spec, plan, tmp_path / "out", tables=tables)
    assert edgellm.open_artifact(tmp_path / "out", verify=True) == artifact

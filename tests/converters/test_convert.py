import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from edgellm.artifact import open_artifact
from edgellm.checkpoint import open_checkpoint
from edgellm.converters import CONVERTERS, converter_for
from edgellm.converters.gguf.convert import convert
from edgellm.errors import EdgeLLMError, FormatError, InputError, OutputError, UsageError
from edgellm.families import read_spec
from edgellm.plan import Plan, TensorChoice
from edgellm.progress import Progress
from edgellm.quant_tables import load_tables
from tests.support.checkpoints import model_config, random_tensors, write_weights
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.plans import fixed_plan, make_plan

TABLES = load_tables()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_artifact_holds_the_model_and_its_manifest_and_nothing_stays_beside_it(
    checkpoint: Path, tmp_path: Path
) -> None:
    artifact = convert_folder(checkpoint, tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["edgellm.json", "model.gguf"]
    assert open_artifact(tmp_path / "out", verify=True) == artifact


def test_the_source_is_recorded_with_the_hash_of_every_file(
    checkpoint: Path, tmp_path: Path
) -> None:
    source = convert_folder(checkpoint, tmp_path / "out").source
    assert {entry.path: entry.sha256 for entry in source.files} == {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in checkpoint.iterdir()
    }


def test_converting_twice_gives_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    first = convert_folder(checkpoint, tmp_path / "first", "q4_K", threads=1)
    second = convert_folder(checkpoint, tmp_path / "second", "q4_K", threads=3)
    for entry in (*first.files, replace(first.files[0], path="edgellm.json")):
        one, two = (folder / entry.path for folder in (first.folder, second.folder))
        assert one.read_bytes() == two.read_bytes()


def test_the_file_has_the_planned_type_and_bytes_for_every_tensor(
    checkpoint: Path, tmp_path: Path
) -> None:
    artifact = convert_folder(checkpoint, tmp_path / "out", "q6_K")
    tensors = gguf.GGUFReader(artifact.gguf).tensors
    planned = [(choice.format.upper(), choice.bytes) for choice in artifact.plan.tensors]
    assert [(t.tensor_type.name.upper(), int(t.n_bytes)) for t in tensors] == planned


def test_weights_come_back_as_the_checkpoint_holds_them(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", "qwen2", dtype="BF16", shards=2)
    artifact = convert_folder(checkpoint, tmp_path / "out", "f32")
    opened = open_checkpoint(checkpoint)
    for tensor, spec in zip(
        gguf.GGUFReader(artifact.gguf).tensors, read_spec(opened).tensors, strict=True
    ):
        stored = opened.read_rows(spec.name, 0, spec.shape[0])
        assert np.array_equal(tensor.data.reshape(stored.shape), stored), spec.name


def test_progress_ends_at_the_size_of_the_file(checkpoint: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    artifact = convert_folder(checkpoint, tmp_path / "out", progress=seen.append)
    written = [step.done for step in seen if step.phase == "quantize"]
    assert written == sorted(written)
    assert written[-1] == artifact.files[0].bytes == seen[0].total


def test_missing_parent_folders_are_made(checkpoint: Path, tmp_path: Path) -> None:
    convert_folder(checkpoint, tmp_path / "a" / "b" / "out")
    assert names(tmp_path / "a" / "b") == ["out"]


def test_every_target_of_the_registry_can_be_loaded() -> None:
    assert [converter_for(target) for target in CONVERTERS] == [convert]
    with pytest.raises(UsageError, match="target 'onyx' is unknown; known targets: gguf"):
        converter_for("onyx")


# What may be at OUT already.


def test_anything_at_out_is_kept_unless_overwriting_is_asked_for(
    checkpoint: Path, tmp_path: Path
) -> None:
    before = convert_folder(checkpoint, tmp_path / "out")
    with pytest.raises(OutputError, match="out: already exists"):
        convert_folder(checkpoint, tmp_path / "out", "q4_0")
    assert open_artifact(tmp_path / "out", verify=True) == before


def test_an_artifact_is_replaced_when_asked(checkpoint: Path, tmp_path: Path) -> None:
    convert_folder(checkpoint, tmp_path / "out")
    after = convert_folder(checkpoint, tmp_path / "out", "q4_0", overwrite=True)
    assert open_artifact(tmp_path / "out", verify=True) == after
    assert names(tmp_path) == ["out"]


def test_a_link_to_an_artifact_is_not_replaced(checkpoint: Path, tmp_path: Path) -> None:
    convert_folder(checkpoint, tmp_path / "real")
    (tmp_path / "out").symlink_to(tmp_path / "real")
    with pytest.raises(OutputError, match="out: is a link, so it stays"):
        convert_folder(checkpoint, tmp_path / "out", overwrite=True)


@pytest.mark.parametrize("kind", ["file", "folder", "empty folder", "artifact and more"])
def test_what_is_no_artifact_is_never_replaced(checkpoint: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "artifact and more":
        convert_folder(checkpoint, out)
    elif kind != "file":
        out.mkdir()
    if kind != "empty folder":
        (out if kind == "file" else out / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"out: (is not an edgellm artifact|holds thesis\.txt)"):
        convert_folder(checkpoint, out, overwrite=True)
    assert names(tmp_path) == ["out"]
    assert (
        kind == "empty folder"
        or "work" in (out if out.is_file() else out / "thesis.txt").read_text()
    )


def test_the_old_artifact_survives_when_the_new_one_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = convert_folder(checkpoint, tmp_path / "out")
    rename = Path.replace

    def fail_to_publish(path: Path, target: Path) -> Path:
        if path.name == "artifact":
            raise OSError(18, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", fail_to_publish)
    with pytest.raises(OutputError, match="out: cannot be written: Invalid cross-device link"):
        convert_folder(checkpoint, tmp_path / "out", "q4_0", overwrite=True)
    assert open_artifact(tmp_path / "out", verify=True) == before


# Plans and checkpoints that cannot be converted.


def convert_plan(checkpoint: Path, plan: Plan, out: Path) -> None:
    opened = open_checkpoint(checkpoint)
    convert(opened, read_spec(opened), plan, out, tables=TABLES)


def good_plan(checkpoint: Path, name: str = "q8_0") -> Plan:
    return fixed_plan(read_spec(open_checkpoint(checkpoint)), TABLES, name)


def with_first(plan: Plan, name: str, **changes: Any) -> Plan:
    """The plan with its first choice of the format `name` changed."""
    first = next(choice for choice in plan.tensors if choice.format == name)
    changed = replace(first, **changes)
    return make_plan(tuple(changed if choice is first else choice for choice in plan.tensors))


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda plan: replace(plan, engine="onnx"), "plan is for onnx; .* one for llama.cpp"),
        (lambda plan: make_plan(plan.tensors[1:]), "lacks model.embed_tokens.weight"),
        (
            lambda plan: make_plan((*plan.tensors, TensorChoice("extra", "f32", 4))),
            "another model .* it has extra",
        ),
        (lambda plan: with_first(plan, "q8_0", bytes=1), "takes 1114112 bytes in q8_0, not 1"),
        (lambda plan: with_first(plan, "q8_0", format="q9_9"), "format 'q9_9' is unknown"),
        (lambda plan: with_first(plan, "q8_0", format="iq2_xxs"), "iq2_xxs needs measured input"),
        (
            lambda plan: with_first(plan, "f32", format="f16"),
            "is a vector; the plan makes it f16; supported: f32",
        ),
    ],
)
def test_a_plan_that_does_not_fit_the_model_is_refused(
    checkpoint: Path, tmp_path: Path, edit: Callable[[Plan], Plan], problem: str
) -> None:
    with pytest.raises(EdgeLLMError, match=problem):
        convert_plan(checkpoint, edit(good_plan(checkpoint)), tmp_path / "out")
    assert names(tmp_path) == []


def test_a_format_that_does_not_divide_the_rows_is_refused_with_its_fallback(
    tmp_path: Path,
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", hidden_size=96, head_dim=24)
    plan = good_plan(checkpoint, "q4_K")
    assert {choice.format for choice in plan.tensors} == {"q5_0", "q4_K", "f32"}
    convert_plan(checkpoint, plan, tmp_path / "fallback")
    with pytest.raises(InputError, match="rows of 96 weights; q4_K needs a multiple of 256"):
        convert_plan(checkpoint, with_first(plan, "q5_0", format="q4_K"), tmp_path / "out")


def test_a_plan_of_another_shape_of_the_same_family_is_refused(
    checkpoint: Path, tmp_path: Path
) -> None:
    other = tiny_checkpoint(tmp_path / "other", intermediate_size=768)
    with pytest.raises(InputError, match="the plan is for another model"):
        convert_plan(checkpoint, good_plan(other), tmp_path / "out")


def test_a_nan_weight_leaves_nothing_behind(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")
    config = model_config("llama", vocab_size=4096)
    arrays = dict(random_tensors("llama", config, 0))
    arrays["model.layers.1.mlp.down_proj.weight"][3, 5] = np.nan
    write_weights(checkpoint, arrays)
    with pytest.raises(FormatError, match=r"layers\.1\.mlp\.down_proj\.weight is nan at \[3, 5\]"):
        convert_folder(checkpoint, tmp_path / "out")
    assert names(tmp_path) == ["checkpoint"]


def test_a_source_that_changes_meanwhile_is_noticed_and_nothing_is_published(
    tmp_path: Path,
) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint")

    def touch(step: Progress) -> None:
        os.utime(checkpoint / "model.safetensors")

    with pytest.raises(InputError, match=r"model\.safetensors: changed while it was converted"):
        convert_folder(checkpoint, tmp_path / "out", progress=touch)
    assert names(tmp_path) == ["checkpoint"]


@pytest.mark.parametrize("threads", [0, -1])
def test_a_senseless_number_of_threads_is_refused(
    checkpoint: Path, tmp_path: Path, threads: int
) -> None:
    with pytest.raises(UsageError, match=f"threads is {threads}; expected at least 1"):
        convert_folder(checkpoint, tmp_path / "out", threads=threads)

"""Opening a checkpoint folder: which files count, which are refused, which are ignored."""

import json
import os
import pickle
import shutil
import socket
from pathlib import Path
from typing import Any

import pytest

from edgellm.checkpoint import open_checkpoint
from edgellm.errors import FormatError, InputError, UnsupportedError
from tests.support.checkpoints import BUNDLED, write_checkpoint

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "head_dim": 8,
    "vocab_size": 32,
    "num_hidden_layers": 1,
}


def sharded(folder: Path) -> Path:
    return write_checkpoint(folder / "model", shards=2, **TINY)


def edit_index(folder: Path, changes: dict[str, object]) -> None:
    """Change entries of weight_map; None removes one."""
    index = json.loads((folder / INDEX).read_text())
    entries = {**index["weight_map"], **changes}
    index["weight_map"] = {name: shard for name, shard in entries.items() if shard is not None}
    (folder / INDEX).write_text(json.dumps(index))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_checkpoint(folder)
    text = str(caught.value)
    assert text.isprintable()
    return text


def test_the_bundled_checkpoint_opens_with_all_its_files() -> None:
    checkpoint = open_checkpoint(BUNDLED)
    assert {path.name for path in checkpoint.files} == {path.name for path in BUNDLED.iterdir()}
    assert checkpoint.tokenizer.tokenizer_model == BUNDLED / "tokenizer.model"
    assert checkpoint.tokenizer.tokenizer_json is None
    assert checkpoint.name == "novelist-7m"
    assert checkpoint.notices == ()


def test_shards_hold_what_one_file_holds(tmp_path: Path) -> None:
    one = open_checkpoint(write_checkpoint(tmp_path / "one", **TINY))
    two = open_checkpoint(write_checkpoint(tmp_path / "two", shards=3, **TINY))
    assert one.stored.keys() == two.stored.keys()
    for name, tensor in one.stored.items():
        rows = tensor.shape[0]
        assert (one.read_rows(name, 0, rows) == two.read_rows(name, 0, rows)).all()
    assert len(two.files) == 1 + 1 + 3


@pytest.mark.parametrize(
    "shard",
    [
        "../model.safetensors",
        "/etc/passwd",
        "C:\\x.safetensors",
        "a\0.safetensors",
        "sub/a.safetensors",
        "pytorch_model.bin",
        "model.safetensors\n",
        7,
        ["a"],
    ],
)
def test_a_shard_name_that_could_leave_the_folder_is_refused(shard: object, tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    edit_index(folder, {"model.norm.weight": shard})
    assert "weight_map places 'model.norm.weight' in" in refusal(folder)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / SHARDS[1]).unlink()
    assert f"{SHARDS[1]}: missing" in refusal(folder)


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    shutil.copyfile(folder / SHARDS[0], folder / "again.safetensors")
    edit_index(folder, {"extra": "again.safetensors"})
    assert f"{INDEX} places it in {SHARDS[0]}" in refusal(folder)


def test_a_listed_tensor_that_is_absent_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    edit_index(folder, {"ghost": SHARDS[0]})
    assert "places 'ghost' in" in refusal(folder)


def test_a_stored_tensor_that_is_unlisted_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    edit_index(folder, {"model.norm.weight": None})
    assert f"'model.norm.weight', but {INDEX} does not list it" in refusal(folder)


@pytest.mark.parametrize("document", ["[]", "{}", '{"weight_map": []}', '{"weight_map": {}}', ""])
def test_an_index_without_a_map_is_refused(document: str, tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / INDEX).write_text(document)
    assert INDEX in refusal(folder)


def test_a_duplicate_tensor_in_the_index_is_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    text = (folder / INDEX).read_text()
    entry = f'"model.norm.weight": "{SHARDS[0]}", '
    (folder / INDEX).write_text(text.replace('"weight_map": {', '"weight_map": {' + entry))
    assert "'model.norm.weight' appears twice" in refusal(folder)


def test_several_files_without_an_index_are_refused(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    (folder / INDEX).unlink()
    assert "2 safetensors files" in refusal(folder)


def test_mistrals_own_file_next_to_the_model_is_ignored(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "mistral", **TINY)
    (folder / "consolidated.safetensors").write_bytes(b"never opened")
    checkpoint = open_checkpoint(folder)
    assert len(checkpoint.notices) == 1
    assert "consolidated.safetensors: ignored" in checkpoint.notices[0]


def test_a_single_file_beside_an_index_of_others_is_what_counts(tmp_path: Path) -> None:
    folder = sharded(tmp_path)
    write_checkpoint(folder, **TINY)
    checkpoint = open_checkpoint(folder)
    assert {tensor.path.name for tensor in checkpoint.stored.values()} == {"model.safetensors"}
    assert any(SHARDS[0] in notice for notice in checkpoint.notices)


class Canary:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["pytorch_model.bin", "a.pt", "a.pth", "a.ckpt"])
def test_a_pickle_is_refused_unopened(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", **TINY)
    (folder / "model.safetensors").unlink()
    canary = tmp_path / "canary"
    (folder / name).write_bytes(pickle.dumps(Canary(canary)))
    text = refusal(folder)
    assert name in text
    assert "revision that has safetensors" in text
    assert not canary.exists()


def test_a_pickle_beside_safetensors_is_ignored_with_a_notice(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    assert open_checkpoint(folder).notices == ("pytorch_model.bin: ignored, a pickle can run code",)


def test_an_adapter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "adapter_model.safetensors").write_bytes(b"")
    assert "adapter" in refusal(tmp_path)
    assert "Merge it" in refusal(tmp_path)


def test_a_gguf_file_is_refused_with_a_hint(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert "edgellm run" in refusal(path)


def test_a_folder_of_gguf_is_refused_with_a_hint(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    (folder / "model.safetensors").rename(folder / "model.gguf")
    assert "edgellm run" in refusal(folder)


def test_a_missing_folder_a_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("")
    (tmp_path / "empty").mkdir()
    assert "cannot be opened as a checkpoint folder" in refusal(tmp_path / "nowhere")
    assert "cannot be opened as a checkpoint folder" in refusal(tmp_path / ("x" * 9000))
    assert "is a file; expected a folder" in refusal(file)
    assert "no config.json" in refusal(tmp_path / "empty")


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    (folder / "model.safetensors").unlink()
    assert "holds no weights" in refusal(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")
    assert "not a regular file" in refusal(folder)


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target)
    except OSError:
        pytest.skip("no symbolic links here")


def hub_cache(folder: Path) -> Path:
    """A snapshot of links into blobs/, as huggingface_hub lays it out."""
    repository = folder / "models--org--tiny"
    source = write_checkpoint(folder / "source", tokenizer=True, **{**TINY, "vocab_size": 4096})
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir()
    for number, path in enumerate(sorted(source.iterdir())):
        path.rename(repository / "blobs" / f"{number:040}")
        link(snapshot / path.name, Path("../../blobs") / f"{number:040}")
    return snapshot


def test_a_snapshot_in_the_hub_cache_opens_under_the_repositorys_name(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(hub_cache(tmp_path))
    assert checkpoint.name == "tiny"
    assert checkpoint.read_rows("model.norm.weight", 0, 32).shape == (32,)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.model"])
def test_a_link_out_of_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", tokenizer=True, **{**TINY, "vocab_size": 4096})
    (folder / name).rename(tmp_path / "elsewhere")
    link(folder / name, tmp_path / "elsewhere")
    assert "link that leaves the folder" in refusal(folder)


def test_a_snapshot_may_not_link_into_another_repositorys_blobs(tmp_path: Path) -> None:
    snapshot = hub_cache(tmp_path)
    other = tmp_path / "models--org--other" / "blobs"
    other.mkdir(parents=True)
    (other / "x").write_bytes(b"")
    (snapshot / "model.safetensors").unlink()
    link(snapshot / "model.safetensors", other / "x")
    assert "link that leaves the folder" in refusal(snapshot)


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    (folder / "model.safetensors").unlink()
    link(folder / "model.safetensors", folder / "model.safetensors")
    assert "missing" in refusal(folder)


def test_code_in_a_checkpoint_is_ignored_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)  # whoever opens one fails
    folder = write_checkpoint(
        tmp_path,
        auto_map={"AutoModel": "evil--model.Model"},
        trust_remote_code=True,
        _attn_implementation_internal="org/kernel",
        **TINY,
    )
    (folder / "modeling_evil.py").write_text("raise SystemExit(7)")
    notices = "\n".join(open_checkpoint(folder).notices)
    for thing in ("auto_map", "trust_remote_code", "_attn_implementation", "modeling_evil.py"):
        assert thing in notices


def test_a_quantized_checkpoint_is_refused_by_its_method(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, quantization_config={"quant_method": "gptq"}, **TINY)
    with pytest.raises(UnsupportedError, match="'gptq'"):
        open_checkpoint(folder)


def write_generation(folder: Path, document: str) -> Path:
    (folder / "generation_config.json").write_text(document)
    return folder


def test_generation_settings_are_typed(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    write_generation(folder, '{"eos_token_id": [3, 4], "temperature": 1, "top_k": null}')
    settings = open_checkpoint(folder).generation_config
    assert settings.eos_token_ids == (3, 4)
    assert settings.bos_token_id == 1  # from config.json
    assert settings.temperature == 1.0
    assert settings.top_k is None
    assert settings.do_sample is None


def test_token_ids_come_from_config_json_where_there_is_nothing_else(tmp_path: Path) -> None:
    settings = open_checkpoint(write_checkpoint(tmp_path, **TINY)).generation_config
    assert settings.eos_token_ids == (2,)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ('{"temperature": "hot"}', "temperature"),
        ('{"temperature": -1}', "temperature"),
        ('{"temperature": 1e999}', "temperature"),
        ('{"top_p": 2}', "top_p"),
        ('{"top_k": 1.5}', "top_k"),
        ('{"do_sample": 1}', "do_sample"),
        ('{"eos_token_id": [-1]}', "eos_token_id"),
        ('{"eos_token_id": "</s>"}', "eos_token_id"),
        ('{"eos_token_id": true}', "eos_token_id"),
        ("[]", "expected a JSON object"),
    ],
)
def test_a_broken_generation_setting_is_named(document: str, field: str, tmp_path: Path) -> None:
    folder = write_generation(write_checkpoint(tmp_path, **TINY), document)
    with pytest.raises(FormatError, match=field) as caught:
        open_checkpoint(folder)
    assert "generation_config.json" in str(caught.value)

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgellm.artifact import MANIFEST, MODEL_GGUF, open_artifact
from edgellm.errors import InputError, IntegrityError, UnsupportedError
from edgellm.progress import Progress
from tests.support.artifacts import write_artifact

Edit = Callable[[dict[str, Any]], object]


def edit_manifest(folder: Path, edit: Edit) -> None:
    path = folder / MANIFEST
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_reading_gives_back_what_was_written(tmp_path: Path) -> None:
    written = write_artifact(tmp_path / "model")
    assert open_artifact(tmp_path / "model", verify=True) == written


def test_the_model_file_lies_in_the_folder(tmp_path: Path) -> None:
    write_artifact(tmp_path / "model")
    assert open_artifact(tmp_path / "model").gguf == tmp_path / "model" / MODEL_GGUF


def test_a_model_file_the_manifest_does_not_list_is_not_offered(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_artifact(folder)
    (folder / "other.bin").write_bytes((folder / MODEL_GGUF).read_bytes())
    edit_manifest(folder, lambda document: document["files"][0].update(path="other.bin"))
    artifact = open_artifact(folder, verify=True)
    with pytest.raises(InputError, match=r"lists no model\.gguf"):
        _ = artifact.gguf


@pytest.mark.parametrize("position", [0, 8, 16])
def test_one_flipped_bit_is_found_and_both_hashes_are_named(tmp_path: Path, position: int) -> None:
    artifact = write_artifact(tmp_path / "model")
    content = bytearray(artifact.gguf.read_bytes())
    content[position] ^= 1
    artifact.gguf.write_bytes(content)
    with pytest.raises(IntegrityError) as caught:
        open_artifact(artifact.folder, verify=True)
    assert str(artifact.gguf) in str(caught.value)
    assert artifact.files[0].sha256 in str(caught.value)


def test_progress_counts_every_byte_of_the_files(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "model", bytes(3 << 20))
    seen: list[Progress] = []
    artifact.verify(progress=seen.append)
    assert [step.done for step in seen] == [1 << 20, 2 << 20, 3 << 20]
    assert {step.total for step in seen} == {3 << 20}


def test_an_untouched_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = write_artifact(tmp_path / "model")
    artifact.verify(stamps=tmp_path / "stamps")
    monkeypatch.setattr("edgellm.artifact.sha256_of", lambda *arguments: "hashed again")
    artifact.verify(stamps=tmp_path / "stamps")


def test_a_file_touched_since_is_hashed_again(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "model")
    artifact.verify(stamps=tmp_path / "stamps")
    before = artifact.gguf.stat().st_mtime_ns
    artifact.gguf.write_bytes(artifact.gguf.read_bytes()[::-1])
    os.utime(artifact.gguf, ns=(before, before))
    with pytest.raises(IntegrityError):
        artifact.verify(stamps=tmp_path / "stamps")


def test_a_stamp_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "model")
    (tmp_path / "stamps").write_bytes(b"a file where the folder should be")
    artifact.verify(stamps=tmp_path / "stamps")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "model")
    artifact.gguf.unlink()
    with pytest.raises(IntegrityError, match=r"model\.gguf: missing"):
        open_artifact(artifact.folder)


def test_a_truncated_file_is_found_without_hashing(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "model")
    artifact.gguf.write_bytes(b"GGUF")
    with pytest.raises(IntegrityError, match=r"4 bytes; .* expects 17"):
        open_artifact(artifact.folder)


def test_a_folder_without_a_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"not an edgellm artifact: it has no edgellm\.json"):
        open_artifact(tmp_path)


def test_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    write_artifact(tmp_path / "model")
    edit_manifest(tmp_path / "model", lambda document: document.update(schema_version=2))
    with pytest.raises(UnsupportedError, match=r"schema_version 2; supported: 1\. Update"):
        open_artifact(tmp_path / "model")


@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc/passwd", "a/b", "a\\b", "C:x", "..", ".", ".hidden", "a\0b", "", MANIFEST],
)
def test_a_file_name_that_is_not_plain_is_refused(tmp_path: Path, name: str) -> None:
    write_artifact(tmp_path / "model")
    edit_manifest(tmp_path / "model", lambda document: document["files"][0].update(path=name))
    with pytest.raises(InputError, match=r"edgellm\.json"):
        open_artifact(tmp_path / "model")


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda d: d.update(files=[]), "files is empty"),
        (lambda d: d.update(files={}), "files is {}; expected a list"),
        (lambda d: d.update(files=d["files"] * 2), "listed twice"),
        (lambda d: d.pop("files"), "files is missing"),
        (lambda d: d.pop("plan"), "plan is missing"),
        (lambda d: d.pop("source"), "source is missing"),
        (lambda d: d.pop("schema_version"), "schema_version is missing"),
        (lambda d: d.update(schema_version="1"), "schema_version is '1'"),
        (lambda d: d.update(extra=1), "extra is unknown"),
        (lambda d: d["files"][0].update(bytes=-1), "bytes is -1"),
        (lambda d: d["files"][0].update(bytes=1.5), r"bytes is 1\.5"),
        (lambda d: d["files"][0].update(bytes=True), "bytes is True"),
        (lambda d: d["files"][0].update(sha256="00"), "not 64 hexadecimal digits"),
        (lambda d: d["versions"].update(edgellm=1), "versions.edgellm is 1"),
        (lambda d: d["source"].update(files=3), "source.files is 3"),
        (lambda d: d["plan"].update(ubatch=0), "ubatch is 0"),
    ],
)
def test_a_manifest_of_the_wrong_shape_is_refused(tmp_path: Path, edit: Edit, problem: str) -> None:
    write_artifact(tmp_path / "model")
    edit_manifest(tmp_path / "model", edit)
    with pytest.raises(InputError, match=problem) as caught:
        open_artifact(tmp_path / "model")
    assert MANIFEST in str(caught.value)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b'{"a":NaN}', b"[" * 100_000])
def test_a_manifest_that_is_not_a_json_object_is_refused(tmp_path: Path, text: bytes) -> None:
    write_artifact(tmp_path / "model")
    (tmp_path / "model" / MANIFEST).write_bytes(text)
    with pytest.raises(InputError, match=r"edgellm\.json"):
        open_artifact(tmp_path / "model")

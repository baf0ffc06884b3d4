"""What people type for a model."""

from pathlib import Path

import pytest

from edgellm.apps.chat.choosing.references import (
    check_reference,
    is_stored,
    reference_of,
    stored_reference,
)
from edgellm.errors import UsageError
from edgellm.store import Store
from tests.support.artifacts import write_artifact


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the current folder, which is the user's own."""
    file = tmp_path / "my model.gguf"
    file.write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    return file


@pytest.mark.parametrize(
    "typed", ["my model.gguf", " 'my model.gguf' ", '"./my model.gguf"', "~/my model.gguf"]
)
def test_a_path_means_the_same_from_everywhere(there: Path, typed: str) -> None:
    assert Path(reference_of(typed)) == there


@pytest.mark.parametrize("name", ["org/name", "org/name@v1", "novelist-7m", "", "x" * 5000, "\0"])
def test_what_is_no_path_stays_as_it_is(name: str) -> None:
    assert reference_of(name) == name


def test_a_stored_model_is_not_mistaken_for_a_folder_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "home")
    write_artifact(store.path("tiny"))
    monkeypatch.chdir(tmp_path)
    assert stored_reference(store, "tiny") == "tiny"
    (tmp_path / "tiny").mkdir()
    reference = stored_reference(store, "tiny")
    assert Path(reference) == store.path("tiny")
    assert is_stored(store, reference)
    assert is_stored(store, "tiny")
    assert not is_stored(store, str(tmp_path / "tiny"))


def test_what_can_be_no_model_is_refused_before_anything_happens(
    tmp_path: Path, there: Path
) -> None:
    store = Store(tmp_path / "home")
    write_artifact(store.path("tiny"))
    for good in ("tiny", "novelist-7m", "org/name", "~/my model.gguf"):
        check_reference(good, store)
    for bad in ("", "tinny", "~/other.gguf", "org/name/more", "a/../b"):
        with pytest.raises(UsageError):
            check_reference(bad, store)

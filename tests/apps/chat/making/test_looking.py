"""What is known before a conversion is planned."""

from pathlib import Path

import pytest

from edgellm.apps.chat.making.looking import defaults_of, look, warning_of
from edgellm.apps.chat.making.subject import Subject, default_mode, modes
from edgellm.apps.free_memory import FreeMemory
from edgellm.store import Store
from tests.support.dialogs import GIB

LARGE = Subject("large", "llama", 7_000_000_000, 14 << 30, 4096, 8192, "9 h")


def test_a_checkpoint_on_this_machine_is_told_by_its_headers(
    checkpoint: Path, tmp_path: Path
) -> None:
    looked = look(str(checkpoint), Store(tmp_path), 1)
    assert looked.subject is not None
    assert (looked.subject.name, looked.subject.family) == ("tiny", "llama")
    assert looked.subject.context == looked.subject.longest_context == 512
    assert looked.subject.duration == "1 min"
    assert looked.subject.file_bytes > 4 * looked.subject.parameters


@pytest.mark.parametrize(
    ("typed", "about"),
    [
        ("", "novelist-7m"),
        ("org/name", "fetched first"),
        ("no/such/folder", "no such file or folder"),
    ],
)
def test_what_does_not_lie_here_is_named(
    typed: str, about: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    looked = look(typed, Store(tmp_path), None)
    assert looked.subject is None
    assert about in looked.about
    assert looked.mode == "static"


def test_small_models_are_measured_unless_a_setting_says_otherwise(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = look(str(checkpoint), Store(tmp_path), None).subject
    assert default_mode(small) == default_mode(LARGE) == "static"  # what these tests set
    monkeypatch.delenv("EDGELLM_SENSITIVITY")
    assert (default_mode(small), default_mode(LARGE), default_mode(None)) == (
        "noise",
        "static",
        "static",
    )
    assert modes() == ("static", "noise")
    monkeypatch.setenv("EDGELLM_SENSITIVITY", "fisher")
    assert modes() == ("static", "noise", "fisher")


def test_the_memory_is_what_is_free_or_what_the_chat_may_take() -> None:
    memory = FreeMemory(8 * GIB, 20 * GIB, 2 * GIB)
    assert defaults_of({}, memory).memory_bytes == 8 * GIB
    assert "2.0 GiB given back" in defaults_of({}, memory).memory_source
    told = defaults_of({"memory": "1GiB", "context": 512, "threads": 3}, memory)
    assert (told.memory_bytes, told.context, told.threads) == (GIB, 512, 3)
    assert "--memory" in told.memory_source


def test_measuring_warns_where_the_whole_model_has_no_room_beside_the_loaded_one() -> None:
    narrow, wide = FreeMemory(10 * GIB, 32 * GIB, 8 * GIB), FreeMemory(20 * GIB, 32 * GIB)
    assert "13.04 GiB" in warning_of(LARGE, "noise", narrow)
    assert "beside the loaded model" in warning_of(LARGE, "noise", narrow)
    assert warning_of(LARGE, "static", narrow) == warning_of(LARGE, "noise", wide) == ""
    assert warning_of(None, "noise", narrow) == ""

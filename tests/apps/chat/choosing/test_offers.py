"""What there is to load."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.apps.chat.choosing.offers import list_offers, offer_of, stored_offer
from edgellm.artifact import MANIFEST, MODEL_GGUF
from edgellm.plan import MemoryParts
from edgellm.store import Store
from tests.support.artifacts import write_artifact
from tests.support.conversions import convert_folder, tiny_checkpoint


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "home")


def test_stored_models_tell_what_their_plans_say(store: Store) -> None:
    artifact = write_artifact(store.path("small"), b"GGUF" * 100)
    plan = replace(artifact.plan, memory=MemoryParts(300, 200, 100, 50), budget_bytes=650)
    replace(artifact, plan=plan).write_manifest(artifact.folder)
    (offer,) = list_offers(store, [], {})
    assert (offer.reference, offer.file_bytes, offer.needed_bytes) == ("small", 400, 650)
    assert (offer.bits_per_weight, offer.context) == (8.0, 512)
    assert offer.path == store.path("small") / MODEL_GGUF
    assert offer.problem == ""


def test_what_is_broken_stands_last_with_its_reason(store: Store) -> None:
    for name in ("a-cut-short", "b-lacks-its-file", "whole"):
        write_artifact(store.path(name))
    manifest = store.path("a-cut-short") / MANIFEST
    manifest.write_bytes(manifest.read_bytes()[:100])
    (store.path("b-lacks-its-file") / MODEL_GGUF).unlink()
    whole, cut, lacking = list_offers(store, [], {})
    assert (whole.name, whole.problem) == ("whole", "")
    assert cut.problem.startswith("edgellm.json: not JSON")
    assert lacking.problem.startswith("model.gguf: missing")


def test_the_bundled_model_is_offered_where_nothing_can_be_loaded(store: Store) -> None:
    (offer,) = list_offers(store, [], {})
    assert offer.reference == "novelist-7m"
    assert "made at first use" in offer.about
    write_artifact(store.path("tiny"))
    assert [one.name for one in list_offers(store, [], {})] == ["tiny"]
    (store.path("tiny") / MODEL_GGUF).unlink()
    assert [one.name for one in list_offers(store, [], {})] == ["tiny", "novelist-7m"]


def test_what_was_used_lately_is_told_by_its_kind(store: Store, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "ckpt")
    outside = write_artifact(tmp_path / "elsewhere").folder
    gone = str(tmp_path / "gone.gguf")
    write_artifact(store.path("stored"))
    recent = [str(checkpoint), str(outside), "org/name", gone, "stored", "novelist-7m"]
    offers = list_offers(store, recent, {})
    assert [one.reference for one in offers] == ["stored", *recent[:4], "novelist-7m"]
    about = {one.reference: one.about for one in offers}
    assert "checkpoint" in about[str(checkpoint)]
    assert "Hub" in about["org/name"]
    assert offers[2].bits_per_weight == 8.0
    assert [one.reference for one in offers if one.problem] == [gone]


def test_a_file_without_a_plan_needs_what_its_header_says(tmp_path: Path) -> None:
    artifact = convert_folder(tiny_checkpoint(tmp_path / "tiny"), tmp_path / "out")
    file = str(artifact.gguf)
    offer, short = offer_of(file, {}), offer_of(file, {"context": 256})
    assert (offer.file_bytes, offer.context, short.context) == (artifact.total_bytes, 512, 256)
    sizes = [offer.file_bytes or 0, short.needed_bytes or 0, offer.needed_bytes or 0]
    assert 0 < sizes[0] < sizes[1] < sizes[2]
    assert offer.planned_context is None


def test_a_file_that_is_broken_says_so(tmp_path: Path) -> None:
    file = tmp_path / "broken.gguf"
    file.write_bytes(b"GGUF\x03\x00\x00\x00")
    offer = offer_of(str(file), {})
    assert offer.problem.startswith(str(file))


def test_a_stored_name_that_a_folder_has_too_is_loaded_from_the_store(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_artifact(store.path("tiny"))
    (tmp_path / "tiny").mkdir()
    monkeypatch.chdir(tmp_path)
    offer = stored_offer(store, "tiny")
    assert offer.name == "tiny"
    assert Path(offer.reference) == store.path("tiny")

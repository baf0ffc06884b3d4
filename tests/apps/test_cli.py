"""Every verb does its work and prints the documented keys."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.apps.conftest import Cli

SMALL = ("--memory", "1GiB", "--context", "256")
PLAN_KEYS = {"fits", "engine", "budget_bytes", "memory", "weights", "kv", "predicted"}


def test_help_lists_every_verb(cli: Cli) -> None:
    shown = cli("--help").out
    verbs = (
        "inspect",
        "plan",
        "convert",
        "run",
        "eval",
        "bench",
        "demo",
        "doctor",
        "ls",
        "show",
        "rm",
        "config",
    )
    assert all(f"  {verb} " in shown for verb in verbs)


def test_version_names_the_package(cli: Cli) -> None:
    assert cli("--version").out.startswith("edgellm ")


def test_inspect_json_has_the_documented_keys(cli: Cli, checkpoint: Path) -> None:
    report = cli("inspect", checkpoint, "--json").json
    keys = {"family", "parameters", "layers", "tensors", "tokenizer", "supported"}
    assert keys <= report.keys()
    assert set(report["supported"]) == {"gguf", "onnx", "t4"}
    assert all(set(row) == {"name", "role", "shape", "dtype"} for row in report["tensors"])


def test_inspect_for_people_fits_80_columns(cli: Cli, checkpoint: Path) -> None:
    lines = cli("inspect", checkpoint).out.splitlines()[1:]
    assert lines
    assert max(map(len, lines)) <= 80


def test_plan_json_has_the_documented_keys_and_keeps_the_budget(cli: Cli, checkpoint: Path) -> None:
    plan = cli("plan", checkpoint, "--memory", "68MiB", "--context", "256", "--json").json
    assert plan.keys() >= PLAN_KEYS
    assert plan["fits"] is True
    parts = plan["memory"]
    assert parts["total_bytes"] == sum(parts.values()) - parts["total_bytes"]
    assert parts["total_bytes"] <= plan["budget_bytes"] == 68 * 2**20


def test_a_plan_that_does_not_fit_says_what_would(cli: Cli, checkpoint: Path) -> None:
    refused = cli("plan", checkpoint, "--memory", "38MiB", "--context", "256", "--json")
    assert refused.code == 1
    assert refused.json["fits"] is False
    needed = f"{refused.json['needed_bytes']}B"
    assert cli("plan", checkpoint, "--memory", needed, "--context", "256").code == 0


def test_without_memory_the_budget_is_said(cli: Cli, checkpoint: Path) -> None:
    ran = cli("plan", checkpoint)
    assert ran.code == 0
    assert "kept in reserve" in ran.err


def test_convert_writes_the_files_it_lists(cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    document = cli("convert", checkpoint, "-o", out, *SMALL, "--json").json
    assert document["artifact"] == str(out)
    assert document["plan"].keys() >= PLAN_KEYS
    (file,) = document["files"]
    content = (out / file["path"]).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    assert sorted(path.name for path in out.iterdir()) == ["edgellm.json", "model.gguf"]


def test_a_saved_plan_converts_to_the_same_bytes(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    small = ("--memory", "66MiB", "--context", "256")
    assert cli("plan", checkpoint, *small, "-o", plan).code == 0
    assert cli("convert", checkpoint, "-o", tmp_path / "a", "--plan", plan).code == 0
    assert cli("convert", checkpoint, "-o", tmp_path / "b", *small).code == 0
    first, second = ((tmp_path / name / "model.gguf").read_bytes() for name in "ab")
    assert first == second


def test_an_artifact_is_not_replaced_unless_asked(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli("convert", checkpoint, "-o", out, *SMALL).code == 0
    assert cli("convert", checkpoint, "-o", out, *SMALL, "--format", "q4_K").code == 4
    assert (
        cli("convert", checkpoint, "-o", out, *SMALL, "--format", "q4_K", "--overwrite").code == 0
    )


def test_run_json_has_the_documented_keys(cli: Cli) -> None:
    ran = cli("run", "novelist-7m", "Hello", *SMALL, "--max-tokens", "8", "--seed", "1", "--json")
    keys = {"text", "prompt_tokens", "generated_tokens", "stop_reason", "timings", "memory"}
    assert ran.json.keys() == keys
    assert ran.json["generated_tokens"] <= 8
    assert ran.json["memory"]["predicted"].keys() >= {"weights_bytes", "total_bytes"}


def test_the_first_run_of_a_checkpoint_converts_it_and_the_next_reuses_that(cli: Cli) -> None:
    arguments = ("run", "novelist-7m", "Hello", *SMALL, "--max-tokens", "4", "--seed", "1")
    first, second = cli(*arguments), cli(*arguments)
    assert "converting" in first.err
    assert "converting" not in second.err
    assert first.out == second.out


def test_a_piped_prompt_is_read(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("run", "novelist-7m", *SMALL, "--max-tokens", "4", "--seed", "1", "--json")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"Hello")))
    piped = cli(*arguments)
    assert piped.json["text"] == cli(*arguments[:2], "Hello", *arguments[2:]).json["text"]


def test_an_altered_model_is_not_run(cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("convert", checkpoint, "-o", out, *SMALL).code == 0
    content = bytearray((out / "model.gguf").read_bytes())
    content[-1] ^= 1
    (out / "model.gguf").write_bytes(content)
    ran = cli("run", out, "Hello")
    assert ran.code == 3
    assert "SHA-256" in ran.err


def test_run_refuses_a_budget_the_artifact_exceeds(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert cli("convert", checkpoint, "-o", out, *SMALL).code == 0
    assert cli("run", out, "Hello", "--memory", "10MiB").code == 1


def test_the_store_lists_shows_and_removes(cli: Cli, checkpoint: Path) -> None:
    assert cli("ls").code == 0
    assert cli("convert", checkpoint, *SMALL).code == 0
    (row,) = cli("ls", "--json").json["models"]
    assert row["name"] == "tiny"
    assert "model.gguf" in cli("show", "tiny").out
    assert cli("show", "tiny", "--json").json["plan"].keys() >= PLAN_KEYS
    assert cli("rm", "tiny").code == 2
    assert cli("rm", "tiny", "--yes", "--json").json["removed"] == "tiny"
    assert cli("ls", "--json").json["models"] == []


def test_a_broken_model_is_listed_beside_the_others_and_can_be_removed(
    cli: Cli, checkpoint: Path, home: Path
) -> None:
    assert cli("convert", checkpoint, *SMALL).code == 0
    (home / "models" / "torn").mkdir()
    (home / "models" / "torn" / "edgellm.json").write_text("{")
    for half in (".gone.removed", ".new.partial"):  # what an interrupt may leave behind
        shutil.copytree(home / "models" / "torn", home / "models" / half)
    listed = cli("ls")
    assert listed.code == 0
    assert "tiny" in listed.out
    assert re.fullmatch(r"broken: .*edgellm.json: not JSON.*edgellm rm torn .*\n", listed.err)
    (broken,) = cli("ls", "--json").json["broken"]
    assert broken["name"] == "torn"
    assert cli("rm", "torn", "--yes", "--json").json == {"removed": "torn", "freed_bytes": 1}
    assert cli("ls", "--json").json["broken"] == []


def test_doctor_says_what_works_here(cli: Cli) -> None:
    report = cli("doctor", "--json").json
    assert {row["name"]: row["available"] for row in report["runtimes"]}["llama.cpp CPU"] is True
    assert all(row["reason"] for row in report["runtimes"])
    assert report["hardware"]["memory_available_bytes"] > 0


def test_the_demo_goes_all_the_way(cli: Cli) -> None:
    steps = cli("demo", "--json").json
    assert list(steps) == ["inspect", "plan", "convert", "run"]
    assert steps["run"]["text"]


def test_a_reader_that_leaves_causes_no_noise() -> None:
    command = [sys.executable, "-m", "edgellm", "inspect", "novelist-7m", "--json"]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.close()
    _, err = writer.communicate()
    assert err == ""


def test_a_plan_edited_beyond_its_budget_is_refused(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "plan.json"
    cli("plan", checkpoint, "--memory", "50MiB", "--context", "256", "-o", path)
    plan = json.loads(path.read_text())
    for row in plan["weights"]["tensors"]:
        row["format"] = "f16" if row["format"] != "f32" else "f32"
    path.write_text(json.dumps(plan))
    ran = cli("convert", checkpoint, "-o", tmp_path / "out", "--plan", path)
    assert (ran.code, "the budget is 50.00 MiB" in ran.err) == (1, True), ran.err


def test_a_saved_plan_wins_over_settings_but_not_over_flags(
    cli: Cli, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = tmp_path / "plan.json"
    cli("plan", checkpoint, *SMALL, "-o", plan)
    monkeypatch.setenv("EDGELLM_MEMORY", "1MiB")
    assert cli("convert", checkpoint, "-o", tmp_path / "out", "--plan", plan).code == 0
    refused = cli("convert", checkpoint, "-o", tmp_path / "b", "--plan", plan, "--context", "9")
    assert (refused.code, "drop --context" in refused.err) == (2, True)


def test_a_bare_gguf_that_takes_too_much_is_refused(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    assert cli("convert", checkpoint, "-o", tmp_path / "out", *SMALL).code == 0
    gguf = tmp_path / "out" / "model.gguf"
    for memory, step in (("1MiB", "a smaller file"), ("20MiB", "smaller context")):
        refused = cli("run", gguf, "Hello", "--memory", memory, "--max-tokens", "1")
        assert (refused.code, step in refused.err) == (1, True)
    assert cli("run", gguf, "Hello", "--memory", "8GiB", "--max-tokens", "1").code == 0

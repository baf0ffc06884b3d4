"""A conversion that is stopped, at any point and in any way."""

import _thread
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgellm.artifact import open_artifact
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.workspace import open_workspace
from edgellm.errors import OutputError
from edgellm.families import read_spec
from edgellm.files import FileStamp
from edgellm.progress import Progress
from tests.support.calibrations import made_up_calibration
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.faults import disk_full, fault_at

ROOT = Path(__file__).parents[2]
# Operations counted from the first, and from the last, where the renames are.
KILL_POINTS = (1, 4, 9, 20, 33, *range(-7, 1))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    return tiny_checkpoint(folder, tie_word_embeddings=True, num_hidden_layers=1)


@pytest.fixture(scope="module")
def expected(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a conversion that nothing disturbed."""
    return convert_folder(checkpoint, tmp_path_factory.mktemp("whole") / "out").gguf.read_bytes()


@pytest.fixture(scope="module")
def operations(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many operations a conversion takes; one more where it replaces an artifact."""
    out = tmp_path_factory.mktemp("counted") / "out"
    with fault_at(10**6, disk_full) as reached:
        convert_folder(checkpoint, out)
    return len(reached)


class Stop:
    """Interrupts once the given share of the file is written."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, step: Progress) -> None:
        if step.phase == "quantize" and step.done >= self.share * step.total:
            raise KeyboardInterrupt


def interrupt(checkpoint: Path, out: Path, share: float = 0.6) -> Path:
    """Stop a conversion part of the way; returns its hidden folder."""
    with pytest.raises(KeyboardInterrupt):
        convert_folder(checkpoint, out, progress=Stop(share))
    return out.with_name(f".{out.name}.partial")


def kept_bytes(checkpoint: Path, out: Path) -> int:
    """Finish the conversion; returns how much of it was there already."""
    seen: list[Progress] = []
    convert_folder(checkpoint, out, progress=seen.append)
    return max((step.done for step in seen if step.phase == "verify"), default=0)


def convert_and_kill(checkpoint: Path, out: Path, n: int) -> None:
    """Convert in another process that dies in its n-th operation."""
    command = [sys.executable, "-m", "tests.support.faults", str(n), str(checkpoint), str(out)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
@pytest.mark.parametrize("replacing", [False, True])
@pytest.mark.parametrize("n", KILL_POINTS)
def test_a_killed_conversion_leaves_all_or_nothing_and_resumes_to_the_same_bytes(
    checkpoint: Path, expected: bytes, operations: int, tmp_path: Path, n: int, replacing: bool
) -> None:
    out = tmp_path / "out"
    complete = [expected]
    if replacing:
        complete.append(convert_folder(checkpoint, out, "q4_0").gguf.read_bytes())
    convert_and_kill(checkpoint, out, n if n > 0 else operations + replacing + n)
    if out.exists():
        assert open_artifact(out, verify=True).gguf.read_bytes() in complete
    convert_folder(checkpoint, out, overwrite=True)
    assert (out / "model.gguf").read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_at_any_operation_is_an_output_error_and_can_be_resumed(
    checkpoint: Path, expected: bytes, operations: int, tmp_path: Path
) -> None:
    for n in range(1, operations + 1):
        out = tmp_path / str(n)
        with fault_at(n, disk_full), pytest.raises(OutputError, match="No space left"):
            convert_folder(checkpoint, out)
        assert not out.exists() or open_artifact(out, verify=True), n
        convert_folder(checkpoint, out, overwrite=True)
        assert (out / "model.gguf").read_bytes() == expected, n
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("from_end", range(8))
def test_a_full_disk_while_replacing_never_loses_the_old_artifact(
    checkpoint: Path, expected: bytes, operations: int, tmp_path: Path, from_end: int
) -> None:
    out = tmp_path / "out"
    old = convert_folder(checkpoint, out, "q4_0").gguf.read_bytes()
    with fault_at(operations + 1 - from_end, disk_full), pytest.raises(OutputError):
        convert_folder(checkpoint, out, overwrite=True)
    assert open_artifact(out, verify=True).gguf.read_bytes() in (old, expected)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9, 1.0])
def test_an_interrupted_conversion_goes_on_from_the_last_whole_tensor(
    checkpoint: Path, expected: bytes, tmp_path: Path, share: float
) -> None:
    partial = interrupt(checkpoint, tmp_path / "out", share)
    assert [path.name for path in tmp_path.iterdir()] == [partial.name]
    written = (partial / "artifact" / "model.gguf").stat().st_size
    kept = kept_bytes(checkpoint, tmp_path / "out")
    # The embedding is 0.6 of the file, in one tensor.
    assert kept > 0.9 * written or share < 0.6
    assert (tmp_path / "out" / "model.gguf").read_bytes() == expected


def test_ctrl_c_ends_a_slow_conversion(tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "checkpoint", vocab_size=16384)
    threading.Timer(0.5, _thread.interrupt_main).start()
    with pytest.raises(KeyboardInterrupt):
        convert_folder(checkpoint, tmp_path / "out", "iq3_s")
    assert not (tmp_path / "out").exists()


def test_a_damaged_part_is_written_again(checkpoint: Path, expected: bytes, tmp_path: Path) -> None:
    partial = interrupt(checkpoint, tmp_path / "out", 0.95)
    model = partial / "artifact" / "model.gguf"
    content = bytearray(model.read_bytes())
    content[int(0.8 * len(content))] ^= 1
    model.write_bytes(content)
    assert 0 < kept_bytes(checkpoint, tmp_path / "out") < 0.8 * len(content)
    assert (tmp_path / "out" / "model.gguf").read_bytes() == expected


def test_a_torn_journal_line_costs_one_section(
    checkpoint: Path, expected: bytes, tmp_path: Path
) -> None:
    journal = interrupt(checkpoint, tmp_path / "out", 0.95) / "journal"
    journal.write_bytes(journal.read_bytes()[:-30])
    assert kept_bytes(checkpoint, tmp_path / "out") > 0
    assert (tmp_path / "out" / "model.gguf").read_bytes() == expected


def test_another_plan_starts_over(checkpoint: Path, tmp_path: Path) -> None:
    interrupt(checkpoint, tmp_path / "out", 0.95)
    whole = convert_folder(checkpoint, tmp_path / "whole", "q5_0").files
    resumed = convert_folder(checkpoint, tmp_path / "out", "q5_0").files
    assert resumed == whole


def test_a_calibration_that_was_not_there_before_starts_over(
    checkpoint: Path, tmp_path: Path
) -> None:
    interrupt(checkpoint, tmp_path / "out")
    calibration = made_up_calibration(read_spec(open_checkpoint(checkpoint)))
    seen: list[Progress] = []
    convert_folder(checkpoint, tmp_path / "out", calibration=calibration, progress=seen.append)
    assert not [step for step in seen if step.phase == "verify"]


def test_another_checkpoint_of_the_same_shape_and_size_starts_over(
    checkpoint: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, mine)
    interrupt(mine, tmp_path / "out", 0.95)
    before = FileStamp.of(mine / "model.safetensors")
    tiny_checkpoint(mine, tie_word_embeddings=True, num_hidden_layers=1, seed=1)
    assert FileStamp.of(mine / "model.safetensors").bytes == before.bytes
    assert kept_bytes(mine, tmp_path / "out") == 0
    whole = convert_folder(mine, tmp_path / "whole").files
    assert open_artifact(tmp_path / "out").files == whole


# One conversion at a time.


def test_a_second_conversion_to_the_same_place_is_refused_at_once(
    checkpoint: Path, tmp_path: Path
) -> None:
    with (
        open_workspace(tmp_path / "out", overwrite=False),
        pytest.raises(OutputError, match="out: another process is writing it"),
    ):
        convert_folder(checkpoint, tmp_path / "out")
    convert_folder(checkpoint, tmp_path / "out")


def test_conversions_to_two_places_do_not_meet(checkpoint: Path, tmp_path: Path) -> None:
    with open_workspace(tmp_path / "out", overwrite=False):
        convert_folder(checkpoint, tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["other"]


# Places that cannot be written.


def test_a_full_disk_is_refused_before_anything_is_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 9, 0))
    with pytest.raises(OutputError, match=r"needs \d+\.\d+ MiB of free disk, has 0 B"):
        convert_folder(checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file/out", "x" * 250])
def test_a_place_that_cannot_exist_is_an_output_error(
    checkpoint: Path, tmp_path: Path, name: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(
        OutputError, match=r"cannot be written: (Not a directory|File name too long)"
    ):
        convert_folder(checkpoint, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

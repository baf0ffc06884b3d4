"""What is wanted of a conversion."""

from pathlib import Path

import pytest

from edgellm.apps.chat.making.order import Order, read_checkpoint, read_context, read_memory
from edgellm.errors import UsageError
from tests.apps.conftest import Cli


def test_the_command_line_understands_an_order(cli: Cli, checkpoint: Path, tmp_path: Path) -> None:
    order = Order(str(checkpoint), 64 << 20, 256, "static", offline=True)
    planned = cli(*order.plan_arguments)
    assert planned.json["budget_bytes"] == 64 << 20
    assert planned.json["kv"]["context"] == 256
    assert planned.json["sensitivity"] == "static"
    plan, out = tmp_path / "plan.json", tmp_path / "out"
    plan.write_text(planned.out, encoding="utf-8")
    made = cli(*order.convert_arguments(plan, out, overwrite=False))
    assert (made.code, made.json["artifact"]) == (0, str(out))
    assert cli(*order.convert_arguments(plan, out, overwrite=False)).code == 4
    assert cli(*order.convert_arguments(plan, out, overwrite=True)).code == 0


def test_a_checkpoint_may_be_called_like_an_option(
    cli: Cli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(checkpoint.parent)
    checkpoint.rename("--help")
    assert cli(*Order("--help", 64 << 20, None, "static").plan_arguments).json["fits"]


def test_empty_fields_mean_their_defaults() -> None:
    assert read_memory("  ", 7) == 7
    assert read_context("", 512) == 512
    assert read_context("", None) is None


def test_fields_are_read_as_people_write_them() -> None:
    assert read_memory(" 1.5GiB ", 7) == 3 << 29
    assert read_context(" 8,192 ", None) == 8192


@pytest.mark.parametrize("typed", ["0", "-1", "many", "1e3", "9" * 20, "4k"])
def test_a_context_is_a_number_of_tokens(typed: str) -> None:
    with pytest.raises(UsageError, match="tokens, such as 8192"):
        read_context(typed, None)


@pytest.mark.parametrize("typed", ["", "nope/", "a/b/c", "/no/such/folder"])
def test_what_can_be_no_checkpoint_is_refused_at_once(typed: str) -> None:
    with pytest.raises(UsageError, match="org/name"):
        read_checkpoint(typed)


def test_a_folder_a_hub_name_and_the_bundled_one_are_checkpoints(tmp_path: Path) -> None:
    for good in (str(tmp_path), "org/name@v1", "novelist-7m"):
        assert read_checkpoint(good) == good

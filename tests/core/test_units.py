import pytest

from edgellm.errors import UsageError
from edgellm.units import format_bytes, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("4GiB", 4 * 2**30),
        ("4GB", 4 * 10**9),
        ("4G", 4 * 10**9),
        ("512 MiB", 512 * 2**20),
        ("1.5GiB", 3 * 2**29),
        ("800m", 800 * 10**6),
        (" 1kib ", 1024),
        ("1B", 1),
    ],
)
def test_a_size_with_a_unit_is_read_as_bytes(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["4096", "", "GiB", "-4GiB", "4 parsecs", "0GiB", "0.1B", "4GiB4", "1e9B", "9" * 30]
)
def test_a_size_that_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (4 * 10**9, "3.73 GiB"),
        (2**45, "32.00 TiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_bytes_are_shown_in_the_largest_binary_unit(count: int, shown: str) -> None:
    assert format_bytes(count) == shown

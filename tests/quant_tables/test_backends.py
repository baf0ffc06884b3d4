"""What the table of backends says of formats and engines, against gguf's names and ours."""

import gguf
import pytest

from edgellm.quant_tables import load_tables
from edgellm.runtimes import RUNTIMES

BACKENDS = load_tables().backends


@pytest.mark.parametrize("name", [name for name, row in BACKENDS.items() if row.reads == "gguf"])
def test_weights_that_do_not_run_are_named_as_ggml_names_them(name: str) -> None:
    known = {kind.name.lower() for kind in gguf.GGMLQuantizationType}
    assert {weights.lower() for weights in BACKENDS[name].no_weights} <= known


def test_every_engine_has_a_backend_that_needs_no_gpu() -> None:
    for engine in RUNTIMES:
        rows = [row for row in BACKENDS.values() if row.engine == engine and not row.on_gpu]
        assert len(rows) == 1
        assert (rows[0].kv_formats, rows[0].no_weights, rows[0].systems) == ((), (), ())


def test_formats_that_run_on_the_processor_alone_are_on_no_gpus_list() -> None:
    only = {name for name, row in load_tables().kv_formats.items() if row.cpu_only}
    assert only
    assert not any(only & set(row.kv_formats) for row in BACKENDS.values())

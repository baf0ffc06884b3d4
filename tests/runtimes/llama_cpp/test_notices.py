"""Log lines of llama.cpp, as it words them, become reasons a user can read."""

import pytest

from edgellm.runtimes.llama_cpp.notices import fallback_reasons


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("resolve_fused_ops: Flash Attention not supported, set to disabled", "Flash Attention"),
        ("init: flash_attn is not compatible with Grok - forcing off", "Grok"),
        (
            "warning: failed to mlock 4096-byte buffer (after previously locking 0 bytes): "
            "Cannot allocate memory",
            "not locked in memory (Cannot allocate memory)",
        ),
        ("warning: mlock not supported on this system", "this system cannot"),
        ("llama_model_loader: mmap is not supported on this platform", "cannot be mapped"),
        ("load: missing pre-tokenizer type, using: 'default'", "convert the model again"),
        ("load_tensors: offloaded 3/29 layers to GPU", "3 of 29 layers are on the GPU"),
    ],
)
def test_a_line_that_says_less_was_done_becomes_a_reason(line: str, words: str) -> None:
    (reason,) = fallback_reasons([line, "load_tensors: CPU model buffer size = 3 MiB", line], -1)
    assert words in reason


def test_layers_left_on_the_cpu_as_asked_are_none() -> None:
    assert fallback_reasons(["load_tensors: offloaded 3/29 layers to GPU"], 3) == ()

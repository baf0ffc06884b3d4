"""Loading: what is reported, what is refused, and that nothing is printed."""

import re
import sys
from ctypes import c_void_p
from pathlib import Path

import gguf
import pytest

from edgellm.errors import Cancelled, FormatError, InputError, RuntimeFailure, UnsupportedError
from edgellm.events import Done, EngineFallback, Event, LoadProgress
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.library import load_library
from edgellm.runtimes.llama_cpp.preconditions import allowed_kv_formats
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.threads import physical_cores, useful_threads
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from edgellm.tokenizer.text_rules import METADATA_KEY
from tests.runtimes.conftest import LoadTiny
from tests.support.gguf import TinyLlama, vocabulary

RUNTIME = LlamaCppRuntime()


def test_progress_rises_to_one_and_nothing_is_printed(
    tiny_gguf: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    events: list[Event] = []
    RUNTIME.load(tiny_gguf, LoadOptions(), events.append).close()
    fractions = [event.fraction for event in events if isinstance(event, LoadProgress)]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", allowed_kv_formats())
def test_every_allowed_kv_format_loads_and_answers(name: str, load_tiny: LoadTiny) -> None:
    options = LoadOptions(key_format=name, value_format=name, ubatch=32)
    model = load_tiny(options, hidden=128, heads=2)
    *_, done = model.generate(Request("hello " * 20, SamplingOptions(max_tokens=3, seed=1)))
    assert isinstance(done, Done)
    assert done.usage.generated_tokens == 3


def test_memory_is_what_llama_cpp_allocated(load_tiny: LoadTiny) -> None:
    model = load_tiny(LoadOptions(context=4096, key_format="f32", value_format="f16"), context=4096)
    memory = model.memory()
    cells, layers, kv_width = 4096, 2, 32
    assert memory.kv_cache_bytes == cells * layers * kv_width * (4 + 2)
    assert memory.weights_bytes > 100_000
    assert memory.compute_bytes > 0
    assert memory.resident_bytes > memory.weights_bytes


def test_room_is_made_for_one_row_of_logits_only(load_tiny: LoadTiny) -> None:
    few = load_tiny(LoadOptions(ubatch=32)).memory().compute_bytes
    many = load_tiny(LoadOptions(ubatch=512)).memory().compute_bytes
    tokens = len(vocabulary()[0])
    assert many - few < 480 * tokens * 4 + 480 * 96 * 4 * 8


def test_a_context_beyond_the_trained_one_is_cut_and_said(tiny_gguf: Path) -> None:
    events: list[Event] = []
    with RUNTIME.load(tiny_gguf, LoadOptions(context=9999), events.append) as model:
        assert model.info.context == 512
    (fallback,) = [event for event in events if isinstance(event, EngineFallback)]
    assert re.search("512 tokens, not 9999", fallback.reason)


def test_layers_for_a_gpu_that_is_not_there_are_a_fallback(tiny_gguf: Path) -> None:
    import llama_cpp.llama_cpp as llama

    if llama.llama_supports_gpu_offload():
        pytest.skip("this build of llama.cpp has a GPU backend")
    events: list[Event] = []
    RUNTIME.load(tiny_gguf, LoadOptions(gpu_layers=-1), events.append).close()
    assert any(isinstance(event, EngineFallback) for event in events)


def test_a_load_can_be_cancelled(tiny_gguf: Path) -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        RUNTIME.load(tiny_gguf, LoadOptions(), lambda event: cancel.cancel(), cancel)


def test_what_the_event_sink_raises_comes_through(tiny_gguf: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RUNTIME.load(tiny_gguf, LoadOptions(), interrupt)


def test_a_model_without_a_tensor_is_refused_with_the_engine_s_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    shapes = TinyLlama()._shapes(len(vocabulary()[0]))
    del shapes["blk.1.ffn_up.weight"]
    monkeypatch.setattr(TinyLlama, "_shapes", lambda self, n_tokens: shapes)
    path = TinyLlama().write(tmp_path / "partial.gguf")
    with pytest.raises(
        RuntimeFailure, match=r"partial\.gguf: .*blk\.1\.ffn_up\.weight. not found"
    ) as failure:
        RUNTIME.load(path, LoadOptions())
    assert "\n" not in str(failure.value)
    assert capfd.readouterr() == ("", "")


def test_an_architecture_llama_cpp_does_not_know_is_named(tmp_path: Path) -> None:
    path = TinyLlama(architecture="novelist").write(tmp_path / "novel.gguf")
    with pytest.raises(RuntimeFailure, match="novelist"):
        RUNTIME.load(path, LoadOptions())


def test_an_absent_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        RUNTIME.load(tmp_path / "absent.gguf", LoadOptions())


def test_a_sentencepiece_vocabulary_without_bytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_bytes(words: object = ()) -> tuple[list[bytes], list[float], list[int]]:
        tokens, scores, types = vocabulary()
        return tokens, scores, [1 if kind == 6 else kind for kind in types]

    monkeypatch.setattr("tests.support.gguf.vocabulary", no_bytes)
    path = TinyLlama().write(tmp_path / "no-bytes.gguf")
    with pytest.raises(UnsupportedError, match="0 byte tokens"):
        RUNTIME.load(path, LoadOptions())


def test_recommended_sampling_is_the_default(load_tiny: LoadTiny) -> None:
    keys = gguf.Keys.General
    extra = (
        (keys.SAMPLING_TEMP, 0.7),
        (keys.SAMPLING_TOP_K, 20),
        (keys.SAMPLING_TOP_P, 0.9),
        (keys.SAMPLING_MIN_P, 0.0),
        (keys.SAMPLING_PENALTY_REPEAT, 1.25),
        (keys.SAMPLING_PENALTY_LAST_N, 32),
    )
    assert load_tiny(extra=extra).info.default_sampling == SamplingOptions(
        temperature=0.7, top_k=20, top_p=0.9, min_p=0.0, repeat_penalty=1.25, repeat_last_n=32
    )


@pytest.mark.parametrize("value", [float("nan"), -1.0, "warm"])
def test_recommended_sampling_that_means_nothing_is_refused(
    value: object, load_tiny: LoadTiny
) -> None:
    with pytest.raises(FormatError, match=r"general\.sampling"):
        load_tiny(extra=(("general.sampling.temp", value),))


def test_rules_for_text_that_are_none_are_refused(load_tiny: LoadTiny) -> None:
    with pytest.raises(FormatError, match=METADATA_KEY):
        load_tiny(extra=((METADATA_KEY, '{"unicode_form": "nfkz"}'),))


@pytest.mark.parametrize(("weights_mib", "threads"), [(7, 1), (33, 1), (10_000, physical_cores())])
def test_a_small_model_gets_few_threads(weights_mib: int, threads: int) -> None:
    assert useful_threads(weights_mib << 20) == threads


def test_there_is_at_least_one_core() -> None:
    assert physical_cores() >= 1


def test_the_engine_s_words_are_heard_after_another_took_the_log(tmp_path: Path) -> None:
    silent = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(silent, c_void_p())
    path = TinyLlama(architecture="novelist").write(tmp_path / "novel.gguf")
    with pytest.raises(RuntimeFailure, match="novelist"):
        RUNTIME.load(path, LoadOptions())


@pytest.mark.parametrize("place", ["mapped", "locked"])
def test_weights_that_stay_in_the_file_give_the_same_text(place: str, tiny_gguf: Path) -> None:
    texts = set()
    for weights in ("read", place):
        options = LoadOptions(weights=weights, threads=1)
        with RUNTIME.load(tiny_gguf, options) as model:
            *_, done = model.generate(Request("hello", SamplingOptions(seed=1, max_tokens=20)))
        assert isinstance(done, Done)
        texts.add(done.text)
    assert len(texts) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_mapped_weights_are_the_file_s_own_pages(tiny_gguf: Path) -> None:
    with RUNTIME.load(tiny_gguf, LoadOptions(weights="mapped", threads=1)):
        assert str(tiny_gguf) in Path("/proc/self/maps").read_text()
    with RUNTIME.load(tiny_gguf, LoadOptions(threads=1)):
        assert str(tiny_gguf) not in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_weights_are_locked_or_it_is_said(tiny_gguf: Path) -> None:
    events: list[Event] = []
    options = LoadOptions(weights="locked", threads=1)
    with RUNTIME.load(tiny_gguf, options, events.append) as model:
        locked = re.search(r"VmLck:\s+(\d+)", Path("/proc/self/status").read_text())
        assert locked is not None
        reasons = [event.reason for event in events if isinstance(event, EngineFallback)]
        is_locked = int(locked[1]) << 10 >= model.memory().weights_bytes
        assert is_locked != any("not locked in memory" in reason for reason in reasons)


def test_what_is_logged_of_each_tensor_crowds_out_nothing(tiny_gguf: Path) -> None:
    library = load_library()
    mark = library.mark()
    RUNTIME.load(tiny_gguf, LoadOptions(threads=1)).close()
    lines = library.lines_since(mark)
    assert any("KV buffer size" in line for line in lines)
    assert not any("loading tensor" in line for line in lines)

"""Answers of a tiny random model: what is decoded, shown, counted, and how answers end."""

import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from time import sleep

import pytest

from edgellm.errors import InputError, RuntimeFailure, UsageError
from edgellm.events import ContextFull, Done, Event, PrefillProgress, TextDelta
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.library import load_library
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from edgellm.runtimes.text_stream import TextStream
from edgellm.tokenizer.text_rules import METADATA_KEY, TextRules
from tests.runtimes.conftest import LoadTiny
from tests.support.answers import answer, greedy
from tests.support.greedy import greedy_by_full_logits

GREEDY = greedy(24)


def tokens_of(model: LlamaCppModel, prompt: str) -> list[int]:
    return model.tokenize(prompt)


def text_of(model: LlamaCppModel, tokens: list[int]) -> str:
    return TextStream(()).feed(b"".join(model._vocabulary.piece(token) for token in tokens))


def test_greedy_text_is_that_of_an_independent_loop_over_full_logits(
    tiny: LlamaCppModel, tiny_gguf: Path
) -> None:
    prompt = tokens_of(tiny, "Once upon a time" * 10)
    expected = greedy_by_full_logits(tiny_gguf, prompt, 24)
    done = answer(tiny, "Once upon a time" * 10, GREEDY)
    assert done.usage.generated_tokens == 24
    assert done.text == text_of(tiny, expected)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(tiny: LlamaCppModel) -> None:
    texts = [
        answer(tiny, "hello", SamplingOptions(seed=seed, max_tokens=40)).text for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_without_a_seed_texts_differ(tiny: LlamaCppModel) -> None:
    free = SamplingOptions(temperature=2, max_tokens=40)
    assert answer(tiny, "hello", free).text != answer(tiny, "hello", free).text


def test_a_strong_repeat_penalty_forbids_repeats(tiny: LlamaCppModel) -> None:
    strict = SamplingOptions(temperature=0, repeat_penalty=1e6, repeat_last_n=64, max_tokens=30)
    text = answer(tiny, "a", strict).text.replace("\ufffd", "")
    spellings = 2  # of an ASCII character in this vocabulary: as itself and as a byte
    assert max(Counter(text).values()) <= spellings


def test_prefill_goes_in_ubatches_and_reports_each(load_tiny: LoadTiny) -> None:
    events = list(load_tiny(LoadOptions(ubatch=64)).generate(Request("x" * 150, GREEDY)))
    progress = [event.processed for event in events if isinstance(event, PrefillProgress)]
    assert progress == [0, 64, 128, 152]


def test_text_of_the_deltas_is_the_text_of_the_end(tiny: LlamaCppModel) -> None:
    events = list(tiny.generate(Request("hello", SamplingOptions(seed=3, max_tokens=60))))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert isinstance(done := events[-1], Done)
    assert "".join(deltas) == done.text
    assert done.usage.generated_tokens == 60
    assert done.stop_reason == "length"
    assert min(done.timings.prefill_s, done.timings.decode_s, done.timings.first_token_s) > 0


def test_a_stop_text_ends_the_answer_and_is_not_shown(tiny: LlamaCppModel) -> None:
    free = SamplingOptions(seed=5, max_tokens=60)
    whole = answer(tiny, "hello", free).text
    stop = whole[20:24]
    done = answer(tiny, "hello", SamplingOptions(seed=5, max_tokens=60, stop=(stop,)))
    assert done.stop_reason == "stop"
    assert done.text == whole[: whole.index(stop)]


def test_a_full_context_is_an_event_and_then_the_end(tiny: LlamaCppModel) -> None:
    events = list(tiny.generate(Request("x" * 500, SamplingOptions(seed=1))))
    assert isinstance(full := events[-2], ContextFull)
    assert (full.used, full.limit) == (512, 512)
    assert isinstance(done := events[-1], Done)
    assert done.stop_reason == "context_full"
    assert done.usage.prompt_tokens + done.usage.generated_tokens == 512 + 1


def test_a_prompt_that_fills_the_context_gets_one_token(tiny: LlamaCppModel) -> None:
    done = answer(tiny, "x" * 510, GREEDY)
    assert (done.usage.prompt_tokens, done.usage.generated_tokens) == (512, 1)


def test_a_prompt_beyond_the_context_is_refused_with_both_numbers(tiny: LlamaCppModel) -> None:
    with pytest.raises(InputError, match=r"513 tokens, the context holds 512; shorten it"):
        answer(tiny, "x" * 511, GREEDY)


def test_a_prompt_of_half_a_surrogate_is_refused(tiny: LlamaCppModel) -> None:
    with pytest.raises(InputError, match="not valid Unicode"):
        answer(tiny, "\ud83c", GREEDY)


def test_an_empty_prompt_starts_from_the_bos_token(tiny: LlamaCppModel) -> None:
    assert answer(tiny, "", GREEDY).usage.prompt_tokens == 1


def test_an_empty_prompt_without_bos_is_refused(load_tiny: LoadTiny) -> None:
    with pytest.raises(InputError, match="prompt is empty"):
        answer(load_tiny(add_bos=False), "", GREEDY)


def test_text_is_normalized_where_the_tokenizer_did(load_tiny: LoadTiny) -> None:
    model = load_tiny(extra=((METADATA_KEY, TextRules(unicode_form="NFC").to_json()),))
    assert tokens_of(model, "e\u0301") == tokens_of(model, "\u00e9")


def test_tokens_named_in_the_file_end_the_answer(
    tiny: LlamaCppModel, tiny_gguf: Path, load_tiny: LoadTiny
) -> None:
    tokens = greedy_by_full_logits(tiny_gguf, tokens_of(tiny, "hello"), 24)
    end = tokens[5]
    exact = LoadOptions(key_format="f32", value_format="f32")
    model = load_tiny(exact, extra=(("edgellm.eos_token_ids", [end]),))
    done = answer(model, "hello", GREEDY)
    assert done.stop_reason == "end"
    assert done.text == text_of(model, tokens[: tokens.index(end)])


def test_an_answer_goes_on_past_its_end_where_that_is_asked(
    tiny: LlamaCppModel, tiny_gguf: Path, load_tiny: LoadTiny
) -> None:
    tokens = greedy_by_full_logits(tiny_gguf, tokens_of(tiny, "hello"), 24)
    exact = LoadOptions(key_format="f32", value_format="f32")
    model = load_tiny(exact, extra=(("edgellm.eos_token_ids", [tokens[5]]),))
    done = answer(model, "hello", replace(GREEDY, ignore_end=True))
    assert done.usage.generated_tokens == 24
    assert done.text == text_of(model, [token for token in tokens if token != tokens[5]])


def test_control_tokens_are_not_shown_but_can_be_asked_for(tiny: LlamaCppModel) -> None:
    assert tiny._vocabulary.piece(4) == b""
    assert tiny._vocabulary.piece(4, special=True) == b"<|user|>"


def test_special_text_is_a_token_only_where_it_may_be(tiny: LlamaCppModel) -> None:
    assert tiny._vocabulary.tokenize("<|end|>", parse_special=True) == [6]
    assert 6 not in tiny._vocabulary.tokenize("<|end|>", parse_special=False)


def test_the_space_sentencepiece_puts_first_is_not_shown(tiny: LlamaCppModel) -> None:
    assert tiny._vocabulary.begins_text(5)
    (last,) = tiny._vocabulary.tokenize("x", parse_special=False)[-1:]
    assert not tiny._vocabulary.begins_text(last)


def cancel_inside_llama_cpp(model: LlamaCppModel, cancel: CancelToken) -> None:
    while not model._context._native.locked():
        sleep(0.001)
    cancel.cancel()


def test_cancelling_while_the_prompt_is_read_stops_inside_a_ubatch(load_tiny: LoadTiny) -> None:
    big = LoadOptions(ubatch=2048)
    model = load_tiny(big, context=2048, hidden=256, heads=4, ffn=1024, layers=8)
    cancel = CancelToken()
    events = model.generate(Request("y" * 2000, GREEDY), cancel)
    assert isinstance(begun := next(events), PrefillProgress)
    assert begun.processed == 0
    threading.Thread(target=cancel_inside_llama_cpp, args=(model, cancel)).start()
    *others, done = events
    assert isinstance(done, Done)
    assert done.stop_reason == "cancelled"
    assert not any(isinstance(event, PrefillProgress) for event in others)


def test_cancelling_between_tokens_keeps_the_text_so_far(tiny: LlamaCppModel) -> None:
    cancel = CancelToken()
    events: list[Event] = []
    for event in tiny.generate(Request("hello", SamplingOptions(seed=1)), cancel):
        events.append(event)
        if sum(isinstance(seen, TextDelta) for seen in events) == 5:
            cancel.cancel()
    assert isinstance(done := events[-1], Done)
    assert done.stop_reason == "cancelled"
    assert done.text
    assert done.usage.generated_tokens < 20


def test_closing_the_answer_lets_the_next_one_begin(tiny: LlamaCppModel) -> None:
    before = answer(tiny, "hello", GREEDY).text
    events = tiny.generate(Request("other", GREEDY))
    next(events)
    with pytest.raises(UsageError, match="already answering"):
        answer(tiny, "hello", GREEDY)
    events.close()
    assert answer(tiny, "hello", GREEDY).text == before


def test_a_closed_model_says_so(load_tiny: LoadTiny) -> None:
    model = load_tiny()
    events = model.generate(Request("hello", GREEDY))
    next(events)
    model.close()
    with pytest.raises(RuntimeFailure, match="closed"):
        list(events)
    with pytest.raises(RuntimeFailure, match="closed"):
        answer(model, "hello", GREEDY)


def test_a_failed_decode_is_a_runtime_failure_with_the_engine_s_words(load_tiny: LoadTiny) -> None:
    model = load_tiny()
    library = load_library()
    with (
        pytest.raises(RuntimeFailure, match=r"llama\.cpp: generating: the batch is not valid") as e,
        library.failures("generating"),
    ):
        model._context.decode([10**6])
    assert "invalid token" in str(e.value)

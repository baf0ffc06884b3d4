"""The host: what it makes of prompts, and what it keeps beside the model."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from edgellm.errors import InputError, RuntimeFailure, UsageError
from edgellm.events import MemorySample
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.host.host import Host, make_host
from edgellm.runtimes.host.prompting import Prompter
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.local import LocalConnection
from edgellm.runtimes.messages import Message
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.wire import LoadCall, encode
from edgellm.testing import FakeRuntime
from tests.support.calls import Answer
from tests.support.gguf import CHAT_TEMPLATE, TinyLlama
from tests.support.models import fake_model

HI = [Message("user", "hi")]


@contextmanager
def tiny(folder: Path, template: str | None) -> Iterator[Model]:
    path = TinyLlama(chat_template=template).write(folder / "tiny.gguf")
    with Model(Launch(path, LoadOptions(threads=1), isolation="none").open()) as model:
        yield model


def helpers() -> list[psutil.Process]:
    return psutil.Process().children()


def test_a_template_that_leaves_the_bos_out_gets_the_one_it_would_have_written(
    tmp_path: Path,
) -> None:
    counts = []
    for template in (CHAT_TEMPLATE, CHAT_TEMPLATE.removeprefix("{{ bos_token }}")):
        with tiny(tmp_path, template) as model:
            counts.append(model.count_tokens(HI))
    assert counts[0] == counts[1] == len(["<s>", "<|user|>", *" hi", "<|end|>", "<|assistant|>"])


def test_messages_for_a_model_without_a_template_are_refused() -> None:
    with fake_model(chat_template=None) as model:
        assert model.info.chat_template is None
        with pytest.raises(InputError, match="no chat template; give it plain text"):
            model.generate(HI).result()
        assert model.generate("hi").result().text == "hi"


def test_a_template_helper_waits_beside_conversations_only() -> None:
    with fake_model() as model:
        assert len(helpers()) == 1
        model.generate("plain").result()
        assert helpers() == []
        model.generate(HI).result()
        (helper,) = helpers()
        model.generate(HI).result()
        assert helpers() == [helper]
    assert helpers() == []


def test_no_template_helper_starts_for_a_model_without_a_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []
    monkeypatch.setattr(Prompter, "prepare", lambda prompter: started.append(prompter))
    with tiny(tmp_path, None), fake_model(chat_template=None):
        assert started == []
    with tiny(tmp_path, CHAT_TEMPLATE):
        assert len(started) == 1


def test_a_template_helper_starts_before_the_weights_are_read(tmp_path: Path) -> None:
    seen: list[str] = []
    LlamaCppRuntime().load(
        TinyLlama(chat_template=CHAT_TEMPLATE).write(tmp_path / "tiny.gguf"),
        LoadOptions(threads=1),
        lambda event: seen.append(event.type),
        on_template=lambda: seen.append("template"),
    ).close()
    assert seen[0] == "template"


def test_a_cancel_ends_a_template_that_takes_its_time() -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    with fake_model(chat_template=endless) as model:
        stream = model.generate(HI)
        threading.Timer(0.3, stream.cancel).start()
        assert stream.result().stop_reason == "cancelled"


def test_memory_is_told_now_and_then_and_at_the_end() -> None:
    with fake_model(answer=["word " * 14], decode_s=0.1) as model:
        events = list(model.generate("Talk"))
    assert [isinstance(event, MemorySample) for event in events[-3:]] == [False, True, False]
    assert sum(isinstance(event, MemorySample) for event in events) >= 2


def test_unknown_methods_and_a_second_load_are_refused(tmp_path: Path) -> None:
    body = encode(LoadCall("fake", b"any", LoadOptions(), None))
    with LocalConnection(lambda: Host(lambda name, folder: FakeRuntime()), "fake") as connection:
        Answer(connection, "load", body).result()
        with pytest.raises(UsageError, match="loaded already"):
            Answer(connection, "load", body).result()
        with pytest.raises(UsageError, match="no method 'fly'"):
            Answer(connection, "fly").result()


def test_nothing_can_be_asked_before_a_load() -> None:
    host = make_host()
    with pytest.raises(RuntimeFailure, match="no model is loaded"):
        host.call("memory", encode(None), lambda item: None, CancelToken())
    host.close()

"""The service beside the engine: holds one model, and makes prompts of conversations for it."""

import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from os import fsdecode
from pathlib import Path
from time import perf_counter
from types import MappingProxyType

from edgellm.errors import RuntimeFailure, UsageError
from edgellm.events import Done, Event
from edgellm.runtimes import open_runtime
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.host.dialects import Dialect
from edgellm.runtimes.host.narration import Narration
from edgellm.runtimes.host.prompting import Prompter
from edgellm.runtimes.host.shortening import Shortening
from edgellm.runtimes.protocol import LoadedModel, Request, Runtime, nothing_to_drop
from edgellm.runtimes.wire import (
    Conversation,
    CountCall,
    EmbedCall,
    GenerateCall,
    LoadCall,
    Loaded,
    RestoreCall,
    SaveCall,
    Vectors,
    decode,
    encode,
    encode_event,
)

Emit = Callable[[bytes], None]
_TAIL = 16  # characters of a prompt in which a thought may have been begun for the model
OpenRuntime = Callable[[str, Path | None], Runtime]


def make_host() -> "Host":
    """What a thread of this process serves."""
    return Host(open_runtime)


def make_worker_host() -> "Host":
    """What a worker process serves: its stderr reaches only its parent, for when it crashes."""
    return Host(partial(open_runtime, log=sys.stderr))


class Host:
    """Owns a loaded model and what makes prompts for it; fulfils connection.Service."""

    def __init__(self, open_engine: OpenRuntime) -> None:
        self._open_engine = open_engine
        self._loaded: LoadedModel | None = None
        self._prompter = Prompter()

    def call(self, method: str, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        """See edgellm.runtimes.connection.Service.call; the methods are those of METHODS."""
        if method not in METHODS:
            raise UsageError(f"no method {method!r}; known: {', '.join(METHODS)}")
        return METHODS[method](self, body, emit, cancel)

    def close(self) -> None:
        """Give the model's memory back."""
        self._prompter.close()
        loaded, self._loaded = self._loaded, None
        if loaded is not None:
            loaded.close()

    @property
    def _model(self) -> LoadedModel:
        if self._loaded is None:
            raise RuntimeFailure("host", "no model is loaded")
        return self._loaded

    def _load(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        call = decode(LoadCall, body)
        if self._loaded is not None:
            raise UsageError("a model is loaded already; each has a host of its own")
        cache_dir = None if call.cache_dir is None else Path(fsdecode(call.cache_dir))
        runtime = self._open_engine(call.engine, cache_dir)
        self._loaded = runtime.load(
            Path(fsdecode(call.path)),
            call.options,
            lambda event: emit(encode_event(event)),
            cancel,
            self._prompter.prepare,
        )
        return encode(Loaded(self._loaded.info, self._loaded.memory()))

    def _generate(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        began = perf_counter()
        call = without_thinking(decode(GenerateCall, body))
        model = self._model
        if isinstance(call.prompt, str):
            self._prompter.close()  # no helper waits beside plain text
        past = self._shortening(call.prompt, cancel)
        if past is not None and (trimmed := past.fit(call.sampling.max_tokens)):
            emit(encode_event(trimmed))
        text = self._prompter.text(model.info, call.prompt, cancel) if past is None else past.prompt
        dialect, tools = self._dialect(call)
        request = Request(
            text := self._answerable(call, text),
            call.sampling,
            call.grammar,
            call.logprobs,
            dialect.shown,
            nothing_to_drop if past is None else lambda: self._shorter(call, past),
            keep=not isinstance(call.prompt, str),
        )
        narration = Narration(
            dialect.parser(tools=tools, opened=text[-_TAIL:]),
            model.memory,
            none_dropped if past is None else past.reported,
        )
        prepared_s = perf_counter() - began
        with closing(model.generate(request, cancel)) as events:
            done = last(narration.tell(events), emit)
        timings = replace(done.timings, first_token_s=done.timings.first_token_s + prepared_s)
        return encode(replace(done, timings=timings))

    def _count_tokens(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        text = self._prompter.text(self._model.info, decode(CountCall, body).prompt, cancel)
        return encode(len(self._model.tokenize(text)))

    def _embed(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        vectors = self._model.embed(decode(EmbedCall, body).texts, cancel)
        count, width = vectors.shape
        return encode(Vectors(count, width, vectors.astype("<f4").tobytes()))

    def _memory(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        return encode(self._model.memory())

    def _save_state(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        call, info = decode(SaveCall, body), self._model.info
        past = self._shortening(call.prompt, cancel, add_generation_prompt=False)
        if past is None:
            text = self._prompter.text(info, call.prompt, cancel, add_generation_prompt=False)
        else:
            text = past.prompt
        return encode(self._model.save_state(text, Path(fsdecode(call.path))))

    def _restore_state(self, body: bytes, emit: Emit, cancel: CancelToken) -> bytes:
        path = Path(fsdecode(decode(RestoreCall, body).path))
        return encode(self._model.restore_state(path))

    def _answerable(self, call: GenerateCall, text: str) -> str:
        """The prompt; a thought that its template has begun is ended where a grammar governs."""
        if isinstance(call.prompt, str) or call.grammar is None:
            return text
        return Dialect.of(self._model.info.chat_template).without_thought(text)

    def _shorter(self, call: GenerateCall, past: Shortening) -> str | None:
        text = past.shorter()
        return None if text is None else self._answerable(call, text)

    def _dialect(self, call: GenerateCall) -> tuple[Dialect, bool]:
        """How to read the answer, and whether calls of tools are read.

        Plain text goes on with plain text, and a grammar leaves nothing to be told apart.
        """
        if isinstance(call.prompt, str) or call.grammar is not None:
            return Dialect(), False
        dialect = Dialect.of(self._model.info.chat_template)
        return (dialect, True) if call.prompt.tools else (replace(dialect, calls=None), False)

    def _shortening(
        self, prompt: str | Conversation, cancel: CancelToken, *, add_generation_prompt: bool = True
    ) -> Shortening | None:
        """What may shorten the prompt; None for one that must not lose anything."""
        return self._prompter.shortening(
            self._model.info,
            prompt,
            cancel,
            lambda text: len(self._model.tokenize(text)),
            add_generation_prompt=add_generation_prompt,
        )


Method = Callable[[Host, bytes, Emit, CancelToken], bytes]
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "load": Host._load,
        "generate": Host._generate,
        "count_tokens": Host._count_tokens,
        "embed": Host._embed,
        "memory": Host._memory,
        "save_state": Host._save_state,
        "restore_state": Host._restore_state,
    }
)


def without_thinking(call: GenerateCall) -> GenerateCall:
    """Where a grammar governs from the first token on there is no room for thoughts."""
    if isinstance(call.prompt, str) or call.grammar is None or call.prompt.thinking is not None:
        return call
    return replace(call, prompt=replace(call.prompt, thinking=False))


def none_dropped() -> int:
    """The messages that a prompt loses which may not lose any."""
    return 0


def last(events: Iterable[Event], emit: Emit) -> Done:
    """Send what comes before Done; returns that."""
    for event in events:
        if isinstance(event, Done):
            return event
        emit(encode_event(event))
    raise AssertionError("an answer ends with Done")

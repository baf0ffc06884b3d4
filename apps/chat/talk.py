"""Answers, one at a time: from the engine into the database, and to whoever watches."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from edgellm.apps.chat.answering.answer import Answer
from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.answering.prompts import sent_of
from edgellm.apps.chat.answering.settings import TRIM
from edgellm.apps.chat.conversations.draft import Draft
from edgellm.apps.chat.conversations.records import FAILED, Cut, Figures, Turn
from edgellm.apps.chat.desk import Desk
from edgellm.errors import EdgeLLMError, OutputError, RuntimeFailure
from edgellm.events import Done, Event, ReasoningDelta, TextDelta
from edgellm.runtimes.messages import Message

if TYPE_CHECKING:
    from edgellm.runtimes.api.asking import AnswerOptions
    from edgellm.runtimes.api.stream import AsyncStream


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of an answer."""

    answer: Answer
    begun: int  # the turn it was begun as
    turn: Turn | None  # as it is kept; None where nothing was said
    cut: Cut | None = None  # what left the context to make room
    unkept: EdgeLLMError | None = None  # why not all of it is on the disk


class Talk:
    """Owns the answer under way."""

    def __init__(
        self,
        desk: Desk,
        engine: Engine,
        *,
        begun: Callable[[Turn], None],
        unsaved: Callable[[EdgeLLMError], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """begun: hears of an answer's turn before its first word. unsaved: hears once that an
        answer cannot be kept as it comes.
        """
        self._desk = desk
        self._engine = engine
        self._begun = begun
        self._unsaved = unsaved
        self._clock = clock
        self._stream: AsyncStream | None = None
        self._draft: Draft | None = None
        self._owed: list[Callable[[], Awaitable[None]]] = []  # the ends of answers not kept yet
        self._keeping = asyncio.Lock()  # each of them is kept once, whoever sees to it
        self._is_stopping = False  # asked for, perhaps before there was a stream
        self._idle = asyncio.Event()
        self._idle.set()
        self.answer: Answer | None = None  # the last one stays to be looked at
        self.aside = ""  # what is done by an answer that becomes no turn

    @property
    def is_busy(self) -> bool:
        return not self._idle.is_set()

    @property
    def showable(self) -> int | None:
        """See Draft.showable; None where no answer is under way."""
        return None if self._draft is None else self._draft.showable

    def stop(self) -> bool:
        """Ask an answer to end with what it has said; whether there was one."""
        self._is_stopping = self.is_busy
        if self._stream is not None:
            self._stream.cancel()
        return self.is_busy

    async def stopped(self) -> None:
        """Stop the answer, and return when it is kept."""
        self.stop()
        await self._idle.wait()
        await self._keep_owed()

    async def reply(self, question: int) -> Ended:
        """Answer a turn. Raises what the database raises; the engine's errors are in the answer."""
        answer = self._started()
        try:
            await self._keep_owed()
            turn = await self._desk.begin_answer(question, self._engine.name)
            self._begun(turn)
            draft = self._draft = Draft(self._desk.archive, turn.id, self._unsaved)
            try:
                await self._listen(answer, self._ask, partial(_feed, draft))
            finally:  # also where this task is cancelled: what was said is kept
                ended = await asyncio.shield(self._end(answer, turn, draft))
            return ended
        finally:
            self._rest()

    async def ask_aside(
        self, doing: str, messages: Sequence[Message], options: "AnswerOptions"
    ) -> Answer:
        """Ask what becomes no turn. doing: what that is, for people. Errors are in the answer."""
        answer, self.aside = self._started(), doing
        try:
            await self._listen(
                answer, lambda: self._engine.answer(messages, options, trims=True), _let_pass
            )
            return answer
        finally:
            self._rest()

    def _started(self) -> Answer:
        assert not self.is_busy
        self._idle.clear()
        self._is_stopping = False
        self.answer = Answer(self._clock)
        return self.answer

    def _rest(self) -> None:
        self._stream = self._draft = None
        self.aside = ""
        self._idle.set()

    def _ask(self) -> "AsyncStream":
        settings = self._desk.settings
        return self._engine.answer(
            self._desk.messages, settings.options(), trims=settings.when_full == TRIM
        )

    async def _listen(
        self, answer: Answer, ask: "Callable[[], AsyncStream]", heard: Callable[[Event], None]
    ) -> None:
        try:
            self._stream = ask()
            if self._is_stopping:
                self._stream.cancel()
            async for event in self._stream:
                answer.hear(event)
                heard(event)
        except RuntimeFailure as error:
            self._engine.failed(error)
            answer.fail(error)
        except EdgeLLMError as error:
            answer.fail(error)
        if answer.memory is not None:
            self._engine.memory = answer.memory

    async def _end(self, answer: Answer, turn: Turn, draft: Draft) -> Ended:
        text, thoughts, cut = answer.text, answer.thoughts, None
        with suppress(EdgeLLMError):  # then the same is left out anew the next time
            cut = await self._trimmed(answer)
        if not text and not thoughts:
            await draft.drop()
            self._desk.dropped(turn)
            return Ended(answer, turn.id, None, cut)
        ending = FAILED if answer.error else "cancelled"
        if answer.done is not None:
            ending = answer.done.stop_reason
        figures = None if answer.done is None else figures_of(answer.done)
        self._owed.append(partial(draft.finish, text, thoughts, ending, figures))
        unkept = await self._keep_owed()  # it is to be seen, to be sent and to be exported anyway
        done = self._desk.ended(turn, text, thoughts, ending, figures)
        return Ended(answer, turn.id, done, cut, unkept)

    async def _keep_owed(self) -> EdgeLLMError | None:
        """Keep answers whole, those as well that could not be before; why that is not possible."""
        refused = None
        async with self._keeping:
            while self._owed:
                try:
                    await self._owed[0]()
                except OutputError as error:
                    return error  # a full disk may have room the next time
                except EdgeLLMError as error:
                    refused = error
                del self._owed[0]
        return refused

    async def _trimmed(self, answer: Answer) -> Cut | None:
        """Cut off what left the context, so that it stays out, and is seen to be."""
        sent = sent_of(self._desk.conversation)
        if not answer.trimmed_messages or not sent:
            return None
        summary, _ = self._desk.conversation.sent()
        last = sent[min(answer.trimmed_messages, len(sent)) - 1]
        cut = Cut(last.turn, summary)
        await self._desk.cut(cut)
        return cut


def figures_of(done: Done) -> Figures:
    usage, timings = done.usage, done.timings
    return Figures(
        usage.prompt_tokens,
        usage.cached_tokens,
        usage.generated_tokens,
        timings.prefill_s,
        timings.decode_s,
        timings.first_token_s,
    )


def _let_pass(event: Event) -> None:
    """For an answer that nothing keeps."""


def _feed(draft: Draft, event: Event) -> None:
    match event:
        case TextDelta():
            draft.feed(event.text)
        case ReasoningDelta():
            draft.feed("", event.text)
        case _:
            pass

"""From what the user typed to an answer, streamed or as JSON."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer

from edgellm.apps.cli.errors import INTERRUPTED
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.terminal_text import harmless
from edgellm.errors import InputError, UsageError
from edgellm.events import Done, EngineFallback, Event, MemoryUse, ReasoningDelta, TextDelta, Usage
from edgellm.plan import Plan
from edgellm.runtimes.api.asking import AnswerOptions, generate_call
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.cancel import CancelToken, heeding
from edgellm.runtimes.messages import Message, Prompt
from edgellm.runtimes.options import SamplingOptions
from edgellm.units import format_bytes

MAX_PROMPT_BYTES = 32 << 20
MAX_OPTION_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and how."""

    text: str
    system: str | None
    raw: bool  # the text goes to the model as it is

    def prompt(self, *, has_template: bool) -> Prompt:
        """Plain text, or the conversation that the chat template takes. Raises UsageError."""
        if has_template and not self.raw:
            system = [Message("system", self.system)] if self.system is not None else []
            return [*system, Message("user", self.text)]
        if self.system is not None:
            raise UsageError("--system needs a chat template; drop it or drop --raw")
        return self.text


def answer(
    launch: Launch,
    question: Question,
    options: AnswerOptions,
    *,
    json: bool,
    stats: bool,
) -> None:
    """Load the model and print its answer. Raises typer.Exit when Ctrl-C cut it short."""
    with cancelled_by_interrupt() as cancel, Model(launch.open(tell, cancel)) as model:
        prompt = question.prompt(has_template=model.info.chat_template is not None)
        with model.generate(prompt, **options) as events, heeding(cancel, events.cancel):
            done = collect(events) if json else stream(events)
        if done.stop_reason == "context_full":
            note(f"edgellm: the context of {model.info.context} tokens is full; the answer ends")
        if json:
            print_json(report_json(done, model.memory(), model.plan))
        elif stats:
            note("\n".join(stats_lines(done, model.memory(), model.plan)))
    if done.stop_reason == "cancelled":
        raise typer.Exit(INTERRUPTED)


@contextmanager
def cancelled_by_interrupt() -> Iterator[CancelToken]:
    """A token that Ctrl-C cancels: an exception must not fly through the engine's callbacks."""
    cancel = CancelToken()

    def interrupted(number: int, frame: object) -> None:
        # What listens may wait for a lock that this very thread holds.
        threading.Thread(target=cancel.cancel).start()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def read_stdin() -> str:
    """The prompt from standard input, which must not be a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no prompt: give it as the second argument or pipe it in")
    raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
    if not raw:
        raise UsageError("no prompt: standard input is empty; give one as the second argument")
    if len(raw) > MAX_PROMPT_BYTES:
        raise UsageError(f"the prompt is longer than {format_bytes(MAX_PROMPT_BYTES)}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt is not UTF-8 text (byte {error.start})") from error


def chosen_options(**options: Any) -> AnswerOptions:
    """The options that are not None, checked before anything is loaded. Raises UsageError."""
    given: Any = {name: value for name, value in options.items() if value is not None}
    chosen: AnswerOptions = given
    generate_call("", SamplingOptions(), chosen)
    return chosen


def read_schema(text: str | None) -> str | None:
    """A JSON Schema: the text itself, or that of a file. Raises UsageError, InputError."""
    if text is None or text.lstrip().startswith("{"):
        return text
    return read_option_file(Path(text))


def read_option_file(path: Path | None) -> str | None:
    """The text of a small file that an option names. Raises InputError."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_OPTION_BYTES + 1)
        if len(raw) > MAX_OPTION_BYTES:
            raise InputError(f"{path}: more than {format_bytes(MAX_OPTION_BYTES)}")
        return raw.decode("utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start})") from error


def tell(event: Event) -> None:
    """Say on stderr what a person has to know."""
    if isinstance(event, EngineFallback):
        note(f"edgellm: {event.reason}")


def stream(events: Iterator[Event]) -> Done:
    """Print the answer as it comes; control characters reach files, never a terminal.

    What the model thinks first is shown to people only.
    """
    terminal = sys.stdout.isatty()
    done: Done | None = None
    for event in events:
        match event:
            case TextDelta():
                shown = harmless(event.text) if terminal else event.text
                print(shown, end="", flush=True)
            case ReasoningDelta() if sys.stderr.isatty():
                print(harmless(event.text), end="", file=sys.stderr, flush=True)
            case Done():
                done = event
            case _:
                tell(event)
    print()
    assert done is not None, "generate() ends with Done"
    return done


def collect(events: Iterator[Event]) -> Done:
    """Let the answer finish; its text is in Done."""
    *before, done = events
    for event in before:
        tell(event)
    assert isinstance(done, Done), "generate() ends with Done"
    return done


def stats_lines(done: Done, memory: MemoryUse, plan: Plan | None) -> Iterator[str]:
    """How long the answer took and what memory, beside what the plan said."""
    timings, usage = done.timings, done.usage
    yield (
        f"{usage.prompt_tokens} tokens read, {usage.generated_tokens} written at "
        f"{timings.rate(usage.generated_tokens, timings.decode_s):.0f} tokens/s; "
        f"first token after {timings.first_token_s:.2f} s"
    )
    if usage.drafted_tokens:
        yield f"{usage.drafted_tokens} tokens guessed, {usage.accepted_tokens} of them right"
    resident = f"memory: {format_bytes(memory.resident_bytes)} resident"
    if plan is None:
        yield resident
    else:
        yield f"{resident}, {format_bytes(plan.memory.total_bytes)} planned"


def speculation_json(usage: Usage) -> dict[str, int]:
    """What was guessed, where something was."""
    return {"drafted_tokens": usage.drafted_tokens, "accepted_tokens": usage.accepted_tokens}


def report_json(done: Done, memory: MemoryUse, plan: Plan | None) -> dict[str, Any]:
    """The answer with the documented keys."""
    timings, usage = done.timings, done.usage
    return {
        "text": done.text,
        **({"reasoning": done.reasoning} if done.reasoning else {}),
        **({"tool_calls": [asdict(call) for call in done.tool_calls]} if done.tool_calls else {}),
        "prompt_tokens": usage.prompt_tokens,
        "generated_tokens": usage.generated_tokens,
        **(speculation_json(usage) if usage.drafted_tokens else {}),
        "stop_reason": done.stop_reason,
        "timings": {
            **asdict(timings),
            "prefill_tokens_per_s": timings.rate(usage.prompt_tokens, timings.prefill_s),
            "decode_tokens_per_s": timings.rate(usage.generated_tokens, timings.decode_s),
        },
        "memory": {
            "predicted": None if plan is None else plan.memory.to_json(),
            "measured": asdict(memory),
        },
    }

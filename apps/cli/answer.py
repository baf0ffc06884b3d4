"""From what the user typed to an answer, streamed or as JSON."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import typer

from edgellm.apps.cli.errors import INTERRUPTED, over_budget, printable
from edgellm.apps.cli.models import Loadable
from edgellm.apps.cli.output import note, print_json
from edgellm.artifact import Artifact
from edgellm.errors import UsageError
from edgellm.events import ContextFull, Done, EngineFallback, Event, MemoryUse, TextDelta
from edgellm.plan import MemoryParts
from edgellm.runtimes import open_runtime
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.messages import Message, Prompt
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import LoadedModel
from edgellm.units import format_bytes, parse_size

ENGINE = "llama.cpp"  # runs GGUF files, the one kind of artifact there is
MAX_PROMPT_BYTES = 64 << 20


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
    found: Loadable,
    load: LoadOptions,
    question: Question,
    sampling: Mapping[str, Any],
    cache_dir: Path,
    *,
    memory: str | None,
    json: bool,
    stats: bool,
) -> None:
    """Load the model and print its answer. Raises typer.Exit when Ctrl-C cut it short.

    sampling: fields of SamplingOptions that replace the model's own.
    """
    runtime = open_runtime(ENGINE, cache_dir)
    with (
        cancelled_by_interrupt() as cancel,
        runtime.load(found.gguf, load, on_event=tell, cancel=cancel) as loaded,
    ):
        if found.artifact is None and memory is not None:
            check_memory(found.gguf.name, loaded.memory(), parse_size(memory))
        prompt = question.prompt(has_template=loaded.chat_template is not None)
        options = replace(loaded.default_sampling, **sampling)
        with closing(loaded.generate(prompt, options, cancel)) as events:
            done = collect(events) if json else stream(events)
        if json:
            print_json(report_json(done, loaded, found.artifact))
        elif stats:
            note("\n".join(stats_lines(done, loaded, found.artifact)))
    if done.stop_reason == "cancelled":
        raise typer.Exit(INTERRUPTED)


@contextmanager
def cancelled_by_interrupt() -> Iterator[CancelToken]:
    """A token that Ctrl-C cancels: an exception must not fly through the engine's callbacks."""
    cancel = CancelToken()
    before = signal.signal(signal.SIGINT, lambda number, frame: cancel.cancel())
    try:
        yield cancel
    finally:
        signal.signal(signal.SIGINT, before)


def read_stdin() -> str:
    """The prompt from standard input, which must not be a terminal."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no prompt: give it as the second argument or pipe it in")
    raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
    if len(raw) > MAX_PROMPT_BYTES:
        raise UsageError(f"the prompt is longer than {format_bytes(MAX_PROMPT_BYTES)}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt is not UTF-8 text (byte {error.start})") from error


def chosen_sampling(**options: Any) -> dict[str, Any]:
    """The options that are not None, checked before anything is loaded. Raises UsageError."""
    chosen = {name: value for name, value in options.items() if value is not None}
    SamplingOptions(**chosen)
    return chosen


def load_options(
    artifact: Artifact | None,
    memory: str | None = None,
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int = 0,
) -> LoadOptions:
    """Load as the plan says; a bare GGUF file has none and takes the defaults.

    Raises UsageError for a context and BudgetError for a memory that the plan exceeds.
    """
    if artifact is None:
        return LoadOptions(context=context, threads=threads, gpu_layers=gpu_layers)
    plan = artifact.plan
    if context is not None and context > plan.kv.context:
        raise UsageError(
            f"--context {context}: {artifact.folder.name} was planned for {plan.kv.context} "
            f"tokens; convert it again with --context {context}"
        )
    if memory is not None and parse_size(memory) < plan.memory.total_bytes:
        step = f"convert it again with --memory {memory}"
        raise over_budget(artifact.folder.name, plan.memory, parse_size(memory), step)
    return LoadOptions(
        context=context or plan.kv.context,
        key_format=plan.kv.key_format,
        value_format=plan.kv.value_format,
        ubatch=plan.ubatch,
        threads=threads,
        gpu_layers=gpu_layers,
    )


def check_memory(name: str, use: MemoryUse, budget_bytes: int) -> None:
    """Raise BudgetError for a model without a plan that will take more than the budget.

    The KV cache and the buffers are there but untouched, so they come on top of what is resident.
    """
    parts = MemoryParts(
        weights_bytes=use.weights_bytes,
        kv_cache_bytes=use.kv_cache_bytes,
        compute_bytes=use.compute_bytes,
        overhead_bytes=max(use.resident_bytes - use.weights_bytes, 0),
    )
    if parts.total_bytes > budget_bytes:
        raise over_budget(name, parts, budget_bytes, "give a smaller --context or a smaller file")


def tell(event: Event) -> None:
    """Say on stderr what a person has to know."""
    match event:
        case EngineFallback():
            note(f"edgellm: {event.reason}")
        case ContextFull():
            note(f"\nedgellm: the context is full: {event.used} of {event.limit} tokens")
        case _:
            pass


def stream(events: Iterator[Event]) -> Done:
    """Print the answer as it comes; control characters reach files, never a terminal."""
    terminal = sys.stdout.isatty()
    done: Done | None = None
    for event in events:
        match event:
            case TextDelta():
                shown = safe_text(event.text) if terminal else event.text
                print(shown, end="", flush=True)
            case Done():
                done = event
            case _:
                tell(event)
    print()
    assert done is not None, "generate() ends with Done"
    return done


def safe_text(text: str) -> str:
    """Text for a terminal: newlines and tabs kept, other control characters shown."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)


def collect(events: Iterator[Event]) -> Done:
    """Let the answer finish; its text is in Done."""
    *before, done = events
    for event in before:
        tell(event)
    assert isinstance(done, Done), "generate() ends with Done"
    return done


def stats_lines(done: Done, loaded: LoadedModel, artifact: Artifact | None) -> Iterator[str]:
    """How long the answer took and what memory, beside what the plan said."""
    timings, usage = done.timings, done.usage
    yield (
        f"{usage.prompt_tokens} tokens read, {usage.generated_tokens} written at "
        f"{timings.rate(usage.generated_tokens, timings.decode_s):.0f} tokens/s; "
        f"first token after {timings.first_token_s:.2f} s"
    )
    resident = f"memory: {format_bytes(loaded.memory().resident_bytes)} resident"
    if artifact is None:
        yield resident
    else:
        yield f"{resident}, {format_bytes(artifact.plan.memory.total_bytes)} planned"


def report_json(done: Done, loaded: LoadedModel, artifact: Artifact | None) -> dict[str, Any]:
    """The answer with the documented keys."""
    timings, usage = done.timings, done.usage
    return {
        "text": done.text,
        "prompt_tokens": usage.prompt_tokens,
        "generated_tokens": usage.generated_tokens,
        "stop_reason": done.stop_reason,
        "timings": {
            **asdict(timings),
            "prefill_tokens_per_s": timings.rate(usage.prompt_tokens, timings.prefill_s),
            "decode_tokens_per_s": timings.rate(usage.generated_tokens, timings.decode_s),
        },
        "memory": {
            "predicted": None if artifact is None else artifact.plan.memory.to_json(),
            "measured": asdict(loaded.memory()),
        },
    }

"""`edgellm run`: one answer, streamed."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from edgellm.apps.cli.budget import PlanningOptions
from edgellm.apps.cli.errors import printable
from edgellm.apps.cli.options import Context, Json, Memory, Offline, Threads
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.cli.settings import home
from edgellm.artifact import Artifact
from edgellm.errors import BudgetError, UsageError
from edgellm.events import ContextFull, Done, EngineFallback, Event, TextDelta
from edgellm.runtimes.protocol import LoadedModel, LoadOptions, Message, Prompt, SamplingOptions
from edgellm.units import format_bytes, parse_size

MAX_PROMPT_BYTES = 64 << 20


def sampling_option(name: str, kind: str, help: str) -> Any:
    return typer.Option(f"--{name}", metavar=kind, help=f"{help} Default: the model's own.")


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An artifact, a GGUF file, a stored name, a checkpoint (converted on first use) "
            "or a Hub name.",
            show_default=False,
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="Read from stdin when absent, or '-'."),
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="System message.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it is; no chat template.")
    ] = False,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", help="Stop after N tokens.")
    ] = None,
    temperature: Annotated[
        float | None, sampling_option("temperature", "T", "0 takes the likeliest token.")
    ] = None,
    top_k: Annotated[int | None, sampling_option("top-k", "K", "0 keeps every token.")] = None,
    top_p: Annotated[float | None, sampling_option("top-p", "P", "1 keeps every token.")] = None,
    min_p: Annotated[float | None, sampling_option("min-p", "P", "0 keeps every token.")] = None,
    repeat_penalty: Annotated[
        float | None, sampling_option("repeat-penalty", "R", "1 is none.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="The same seed, the same text.")
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", help="End the answer here; may be repeated."),
    ] = None,
    memory: Memory = None,
    context: Context = None,
    threads: Threads = None,
    gpu_layers: Annotated[
        int, typer.Option("--gpu-layers", metavar="N", help="Layers on the GPU; -1 is all.")
    ] = 0,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Answer one prompt; the text streams to stdout."""
    from edgellm.apps.cli.models import find_loadable
    from edgellm.runtimes import open_runtime
    from edgellm.store import Store

    text = prompt if prompt not in (None, "-") else read_stdin()
    changes: dict[str, Any] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repeat_penalty": repeat_penalty,
        "seed": seed,
        "max_tokens": max_tokens,
        "stop": tuple(stop or ()),
    }
    given = {name: value for name, value in changes.items() if value not in (None, ())}
    SamplingOptions(**given)  # a bad value is refused before anything is loaded
    store = Store(home())
    options = PlanningOptions(memory=memory, context=context)
    found = find_loadable(model, options, store, offline=offline, threads=threads)
    load = load_options(found.artifact, memory, context, threads, gpu_layers)
    runtime = open_runtime("llama.cpp", store.cache)
    with runtime.load(found.gguf, load, on_event=tell) as loaded:
        question = as_prompt(text, system, raw=raw or loaded.chat_template is None)
        sampling = replace(loaded.default_sampling, **given)
        with closing(loaded.generate(question, sampling)) as events:
            done = collect(events) if json else stream(events)
        if json:
            print_json(report_json(done, loaded, found.artifact))


def read_stdin() -> str:
    """The prompt from standard input; in a terminal it ends with Ctrl-D."""
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no prompt: give it as the second argument or pipe it in")
    raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
    if len(raw) > MAX_PROMPT_BYTES:
        raise UsageError(f"the prompt is longer than {format_bytes(MAX_PROMPT_BYTES)}")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the prompt is not UTF-8 text (byte {error.start})") from error


def as_prompt(text: str, system: str | None, *, raw: bool) -> Prompt:
    """Plain text, or the conversation that the chat template takes."""
    if raw and system is not None:
        raise UsageError("--system needs a chat template; drop it or drop --raw")
    if raw:
        return text
    turns = [Message("system", system)] if system is not None else []
    return [*turns, Message("user", text)]


def load_options(
    artifact: Artifact | None,
    memory: str | None,
    context: int | None,
    threads: int | None,
    gpu_layers: int,
) -> LoadOptions:
    """Load as the plan says; a bare GGUF file has none and takes the defaults."""
    if artifact is None:
        if memory is not None:
            raise UsageError("--memory needs a plan, and a bare GGUF file has none")
        return LoadOptions(context=context, threads=threads, gpu_layers=gpu_layers)
    plan = artifact.plan
    if context is not None and context > plan.kv.context:
        raise UsageError(
            f"--context {context}: {artifact.folder.name} was planned for {plan.kv.context} "
            f"tokens; convert it again with --context {context}"
        )
    if memory is not None and parse_size(memory) < plan.memory.total_bytes:
        needed, allowed = plan.memory.total_bytes, parse_size(memory)
        raise BudgetError(
            f"{artifact.folder.name} needs {format_bytes(needed)}, --memory allows "
            f"{format_bytes(allowed)}; convert it again with --memory {memory}",
            needed_bytes=needed,
            budget_bytes=allowed,
            largest_context=0,
            parts=asdict(plan.memory),
        )
    return LoadOptions(
        context=context or plan.kv.context,
        key_format=plan.kv.key_format,
        value_format=plan.kv.value_format,
        ubatch=plan.ubatch,
        threads=threads,
        gpu_layers=gpu_layers,
    )


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
            "predicted": None if artifact is None else asdict(artifact.plan.memory),
            "measured": asdict(loaded.memory()),
        },
    }

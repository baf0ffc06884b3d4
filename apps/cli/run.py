"""`edgellm run`: one answer, streamed."""

from contextlib import closing
from dataclasses import replace
from typing import Annotated, Any

import typer

from edgellm.apps.cli.budget import PlanningOptions
from edgellm.apps.cli.errors import INTERRUPTED
from edgellm.apps.cli.options import Context, Json, Memory, Offline, Threads, stored_names
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.cli.settings import home


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
            autocompletion=stored_names,
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
    stats: Annotated[
        bool, typer.Option("--stats", help="Say on stderr how fast it was and what memory it took.")
    ] = False,
    offline: Offline = False,
    json: Json = False,
) -> None:
    """Answer one prompt; the text streams to stdout."""
    from edgellm.apps.cli.answer import (
        as_prompt,
        cancelled_by_interrupt,
        collect,
        load_options,
        read_stdin,
        report_json,
        stats_lines,
        stream,
        tell,
    )
    from edgellm.apps.cli.models import find_loadable
    from edgellm.runtimes import open_runtime
    from edgellm.runtimes.protocol import SamplingOptions
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
    with (
        cancelled_by_interrupt() as cancel,
        runtime.load(found.gguf, load, on_event=tell, cancel=cancel) as loaded,
    ):
        question = as_prompt(text, system, raw=raw or loaded.chat_template is None)
        sampling = replace(loaded.default_sampling, **given)
        with closing(loaded.generate(question, sampling, cancel)) as events:
            done = collect(events) if json else stream(events)
        if json:
            print_json(report_json(done, loaded, found.artifact))
        elif stats:
            note("\n".join(stats_lines(done, loaded, found.artifact)))
    if done.stop_reason == "cancelled":
        raise typer.Exit(INTERRUPTED)

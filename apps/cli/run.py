"""`edgellm run`: one answer, streamed."""

from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.settings import home


def command(
    model: cli.Model,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="[PROMPT]", help="Read from stdin when absent, or '-'."),
    ] = None,
    system: cli.System = None,
    raw: cli.Raw = False,
    max_tokens: cli.MaxTokens = None,
    temperature: cli.Temperature = None,
    top_k: cli.TopK = None,
    top_p: cli.TopP = None,
    min_p: cli.MinP = None,
    repeat_penalty: cli.RepeatPenalty = None,
    seed: cli.Seed = None,
    stop: cli.Stop = None,
    memory: cli.Memory = None,
    context: cli.Context = None,
    threads: cli.Threads = None,
    gpu_layers: cli.GpuLayers = None,
    weights: cli.Weights = "read",
    speculate: cli.Speculate = None,
    isolation: cli.Isolation = "process",
    json_schema: cli.JsonSchema = None,
    grammar: cli.Grammar = None,
    stats: cli.Stats = False,
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Answer one prompt; the text streams to stdout."""
    from edgellm.apps.cli import answer
    from edgellm.apps.cli.models import find_loadable
    from edgellm.apps.launching import LoadSettings, launch
    from edgellm.store import Store

    text = answer.read_stdin() if prompt in (None, "-") else prompt
    options = answer.chosen_options(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repeat_penalty=repeat_penalty,
        seed=seed,
        max_tokens=max_tokens,
        stop=tuple(stop or ()) or None,
        json_schema=answer.read_schema(json_schema),
        grammar=answer.read_option_file(grammar),
    )
    settings: LoadSettings = {
        "memory": memory,
        "context": context,
        "threads": threads,
        "gpu_layers": gpu_layers,
        "weights": weights,
        "speculate": speculate,
        "isolation": isolation,
    }
    planning = PlanningOptions(memory=memory, context=context)
    found = find_loadable(model, planning, offline=offline, threads=threads, speculate=speculate)
    question = answer.Question(text or "", system, raw)
    start = launch(found, settings, Store(home()))
    answer.answer(start, question, options, json=json, stats=stats)

"""Options that several verbs share, so that each is spelled and explained once."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object; progress goes to stderr.")
]
Offline = Annotated[
    bool,
    typer.Option("--offline", envvar="EDGELLM_OFFLINE", help="Open no connection to any server."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        envvar="EDGELLM_MEMORY",
        help="Memory for everything: weights, KV cache, compute buffers, the process. "
        "Example: 4GiB. Default: what is free now, less a reserve.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        metavar="TOKENS",
        envvar="EDGELLM_CONTEXT",
        help="Tokens the KV cache must hold. Default: 4096, or less where the model has less.",
    ),
]
WeightsMemory = Annotated[
    str | None,
    typer.Option("--weights-memory", metavar="SIZE", help="Cap on the weights alone."),
]
TargetBpw = Annotated[
    float | None,
    typer.Option("--target-bpw", metavar="BITS", help="Cap on the mean bits per weight."),
]
MinSpeed = Annotated[
    float | None,
    typer.Option(
        "--min-speed",
        metavar="TOK/S",
        help="Decode at least this fast on this machine, as measured here once.",
    ),
]
Prefer = Annotated[
    str | None,
    typer.Option(
        "--prefer",
        metavar="WHAT",
        help="quality (the default), balanced or speed: how much predicted quality may be given "
        "for decoding speed on this machine.",
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="One format for every matrix instead of a mix, such as f16 or q4_K.",
    ),
]
SensitivityMode = Annotated[
    str | None,
    typer.Option(
        "--sensitivity",
        metavar="MODE",
        envvar="EDGELLM_SENSITIVITY",
        help="How tensors are judged: noise (the default: measured on this model once, minutes for "
        "small ones and hours for billions of weights), static (a table, at once), fisher or "
        "llm-mq (by gradients; need the extra edgellm[fisher]).",
    ),
]
CalibrationText = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="FILE",
        help="Text for a measured --sensitivity. Default: what the model writes itself.",
    ),
]
Imatrix = Annotated[
    Path | None,
    typer.Option(
        "--imatrix",
        metavar="FILE",
        help="Input statistics to round by, and to judge by with --sensitivity noise: an imatrix "
        "of llama-imatrix, in GGUF. Default: those that noise measures.",
    ),
]
SaveImatrix = Annotated[
    Path | None,
    typer.Option(
        "--save-imatrix",
        metavar="FILE",
        help="Also save the measured input statistics, as llama-imatrix would.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        max=1024,
        envvar="EDGELLM_THREADS",
        help="Threads. Default: one per physical core.",
    ),
]
CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CKPT",
        help="A checkpoint folder, or a Hub name (org/name).",
        show_default=False,
    ),
]


def typed(call: typer.Context, names: Iterable[str]) -> list[str]:
    """Those of the options that stand on the command line, not in a variable or config.toml."""
    sources = {name: call.get_parameter_source(name) for name in names}
    return [name for name, source in sources.items() if source and source.name == "COMMANDLINE"]


def stored_names(incomplete: str) -> list[str]:
    """Names of stored models that begin so, for the shell's completion."""
    from edgellm.apps.cli.settings import home
    from edgellm.store import Store

    return [name for name in Store(home()).names() if name.startswith(incomplete)]


Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="An artifact, a GGUF file, a stored name, a checkpoint (converted on first use) "
        "or a Hub name.",
        show_default=False,
        autocompletion=stored_names,
    ),
]
OutFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Also save the plan as JSON."),
]
Explain = Annotated[
    bool,
    typer.Option("--explain", help="Say why: what each tensor's finer format would save and cost."),
]
Curve = Annotated[
    bool,
    typer.Option("--curve", help="Draw predicted KL divergence over memory, from least to most."),
]
CurveFile = Annotated[
    Path | None,
    typer.Option(
        "--curve-file",
        metavar="FILE",
        help="Save that curve as .json, .svg or .png; pictures need edgellm[plots].",
    ),
]


def _sampling(name: str, metavar: str, help: str) -> Any:
    return typer.Option(f"--{name}", metavar=metavar, help=f"{help} Default: the model's own.")


System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="System message.")]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the prompt as it is; no chat template.")]
MaxTokens = Annotated[
    int | None, typer.Option("--max-tokens", metavar="N", help="Stop after N tokens.")
]
Temperature = Annotated[float | None, _sampling("temperature", "T", "0 takes the likeliest token.")]
TopK = Annotated[int | None, _sampling("top-k", "K", "0 keeps every token.")]
TopP = Annotated[float | None, _sampling("top-p", "P", "1 keeps every token.")]
MinP = Annotated[float | None, _sampling("min-p", "P", "0 keeps every token.")]
RepeatPenalty = Annotated[float | None, _sampling("repeat-penalty", "R", "1 is none.")]
Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="The same seed, the same text.")
]
Stop = Annotated[
    list[str] | None,
    typer.Option("--stop", metavar="TEXT", help="End the answer here; may be repeated."),
]
GpuLayers = Annotated[
    int | None,
    typer.Option(
        "--gpu-layers",
        metavar="N",
        help="Layers on the GPU; -1 is all. Default: what a GPU here can take.",
    ),
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        metavar="WHERE",
        help="read (private memory, fastest), mapped (the file's own pages) or locked (those, "
        "kept there).",
    ),
]
Speculate = Annotated[
    str | None,
    typer.Option(
        "--speculate",
        metavar="HOW",
        help="Guess several tokens at once, with the same text as a result: ngram, or a small "
        "model's GGUF file.",
    ),
]
Isolation = Annotated[
    str,
    typer.Option(
        "--isolation",
        metavar="HOW",
        help="process (the engine in a process of its own) or none.",
    ),
]
JsonSchema = Annotated[
    str | None,
    typer.Option(
        "--json-schema",
        metavar="SCHEMA",
        help="The answer is JSON that fits this JSON Schema: a file, or the schema itself.",
    ),
]
Grammar = Annotated[
    Path | None,
    typer.Option("--grammar", metavar="FILE", help="The answer follows this GBNF grammar."),
]
Stats = Annotated[
    bool, typer.Option("--stats", help="Say on stderr how fast it was and what memory it took.")
]

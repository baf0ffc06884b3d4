"""`edgellm chat`: the terminal app."""

from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.settings import chat_keys, config_file, home
from edgellm.errors import UsageError
from edgellm.units import parse_size


def command(
    context_of_call: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="As for `run`. Default: the model that was used last, or one from a list.",
            show_default=False,
            autocompletion=cli.stored_names,
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--continue", "-c", help="Go on with the newest conversation.")
    ] = False,
    system: cli.System = None,
    memory: cli.Memory = None,
    context: cli.Context = None,
    threads: cli.Threads = None,
    gpu_layers: cli.GpuLayers = None,
    weights: cli.Weights = "read",
    speculate: cli.Speculate = None,
    theme: Annotated[
        str | None,
        typer.Option(
            "--theme",
            metavar="NAME",
            envvar="EDGELLM_THEME",
            help="Colours, such as textual-dark, textual-light or ansi-dark. Default: the ones "
            "chosen last.",
        ),
    ] = None,
    serve: Annotated[
        bool,
        typer.Option("--serve", help="In a browser on this machine; needs edgellm[serve]."),
    ] = False,
    port: Annotated[
        int, typer.Option("--port", metavar="N", help="For --serve; 0 chooses a free one.")
    ] = 0,
    browser: Annotated[
        bool, typer.Option("--browser", help="For --serve: open the browser as well.")
    ] = False,
    offline: cli.Offline = False,
) -> None:
    """Chat with a model in the terminal; conversations are kept."""
    if memory is not None:
        parse_size(memory)  # what cannot be read is refused before a screen is drawn
    if serve:
        from edgellm.apps.chat.serving import serve as serve_chat

        serve_chat(_without_serving(context_of_call), port=port, open_browser=browser)
        return
    if typed := cli.typed(context_of_call, ["port", "browser"]):
        raise UsageError(f"--{typed[0]} is for --serve; add that")
    from edgellm.apps.chat.launch import run_chat
    from edgellm.apps.chat.start import Start

    run_chat(
        Start(
            folder=home() / "chats",
            model=model,
            load={
                "memory": memory,
                "context": context,
                "threads": threads,
                "gpu_layers": gpu_layers,
                "weights": weights,
                "speculate": speculate,
                "offline": offline,
            },
            system=system,
            resume=resume,
            theme=theme,
            keys=chat_keys(),
            config=config_file(),
        )
    )


def _without_serving(context: typer.Context) -> list[str]:
    """The words of this call for the chat that is served."""
    words: list[str] = []
    for name in cli.typed(context, [name for name in context.params if name not in _SERVING]):
        value = context.params[name]
        flag = {"resume": "--continue"}.get(name, f"--{name.replace('_', '-')}")
        if name != "model":
            words += [flag] if value is True else [flag, str(value)]
    model = context.params.get("model")
    return [*words, "--", str(model)] if model else words


_SERVING = frozenset({"serve", "port", "browser", "context_of_call"})

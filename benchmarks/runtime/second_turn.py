"""What the second turn of a long conversation costs, through the API and its worker process:

    python -m benchmarks.runtime.second_turn SCRATCH [--rounds N] [--threads N]

A conversation of 2,000 tokens goes on by one message. The time until its answer begins is compared
with what the C loop of benchmarks.runtime.native takes to read as many tokens as are new, behind as
many as there were, in the same round. The context is too small for two conversations, so that each
round begins anew. The model is made in the folder SCRATCH once.
"""

import argparse
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Unpack, cast

from benchmarks.report import write_result
from benchmarks.runtime.models import SIZES, prepared
from benchmarks.runtime.native import KV, UBATCH, ggml_type_of, quartiles
from benchmarks.runtime.native_loop import NativeLoop, Settings, build
from edgellm.apps.cli.speed_prompts import PromptWriter
from edgellm.apps.cli.speed_timing import AnswerTimes, time_answer
from edgellm.runtimes.api.asking import AnswerOptions
from edgellm.runtimes.api.chat import Chat
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.api.stream import Stream
from edgellm.runtimes.options import LoadOptions

CONTEXT = 2560
FIRST, ANSWER, SECOND = 1936, 64, 128  # tokens of the first message, its answer, the next message
# What the template of benchmarks.runtime.models puts around the second message.
_TURN = "<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"

GREEDY: AnswerOptions = {"temperature": 0, "repeat_penalty": 1, "ignore_end": True}
# Random weights write bytes that are no characters, which no prompt can repeat.
_WORDS = "root ::= [a-z ]+"


@dataclass(frozen=True, slots=True)
class Turn:
    """The second turn of one round."""

    cached_tokens: int
    read_tokens: int
    new_tokens: int  # the second message in its template, and the last token of the answer
    first_token_s: float  # by the caller's clock
    prefill_s: float
    alone_s: float  # the C loop's, for read_tokens behind cached_tokens


def second_turn(model: Model, writer: PromptWriter, loop: NativeLoop, number: int) -> Turn:
    """A conversation of other words in each round."""
    chat, question = model.chat(), writer.text(SECOND, 2 * number + 1)
    said(chat, writer.text(FIRST, 2 * number), ANSWER, grammar=_WORDS)
    times = said(chat, question, 1)
    usage = times.done.usage
    read = usage.prompt_tokens - usage.cached_tokens
    return Turn(
        cached_tokens=usage.cached_tokens,
        read_tokens=read,
        new_tokens=model.count_tokens(_TURN.format(question)) + 1,
        first_token_s=times.first_token_s,
        prefill_s=times.prefill_s,
        alone_s=loop.seconds("prefill", usage.cached_tokens, read),
    )


def said(chat: Chat, text: str, tokens: int, **options: Unpack[AnswerOptions]) -> AnswerTimes:
    def ask(text: str, tokens: int) -> Stream:
        chosen = {**GREEDY, **options, "max_tokens": tokens}
        return chat.send(text, **cast(AnswerOptions, chosen))

    return time_answer(ask, text, tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scratch", type=Path, help="folder for the model; 2 GB")
    parser.add_argument("--size", choices=[*SIZES], default="0.5B")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    gguf, threads = prepared(arguments.scratch, arguments.size, "q4_K"), arguments.threads
    settings = Settings(threads, CONTEXT, UBATCH, ggml_type_of(KV), ggml_type_of(KV))
    options = LoadOptions(CONTEXT, KV, KV, ubatch=UBATCH, threads=threads)
    with (
        NativeLoop(build(arguments.scratch), gguf, settings) as loop,
        Model(Launch(gguf, options).open()) as model,
    ):
        writer = PromptWriter(model.count_tokens)
        turns = [second_turn(model, writer, loop, n) for n in range(1 + arguments.rounds)][1:]
    ratios = [turn.first_token_s / turn.alone_s for turn in turns]
    figures = {
        "size": arguments.size,
        "threads": threads,
        "only_new_tokens_read": all(turn.read_tokens == turn.new_tokens for turn in turns),
        "first_token_over_alone": quartiles(ratios),
        "beside_prefill_s": round(
            statistics.median(t.first_token_s - t.prefill_s for t in turns), 4
        ),
        "rounds": [asdict(turn) for turn in turns],
    }
    print(figures)
    print(write_result("second_turn", figures))


if __name__ == "__main__":
    main()

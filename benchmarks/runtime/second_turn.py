"""A second turn beside its own new tokens: how many are computed, and what the rest of it costs.

python -m benchmarks.runtime.second_turn [--turns N]

First an answer after a long prompt, then a prompt that repeats both and goes on. Alone are the
same tokens, computed again after the same ones.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.report import write_result
from benchmarks.runtime.token_cost import write_model
from edgellm.bundled import bundled_calibration_text
from edgellm.events import Done
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request

CONTEXT, PROMPT_TOKENS, ANSWER_TOKENS = 2048, 1650, 250
NEW = " Then the old man said to the girl that she must go to the house at once." * 3


def answer(model: LlamaCppModel, prompt: str, tokens: int) -> Done:
    *_, done = model.generate(Request(prompt, SamplingOptions(seed=1, max_tokens=tokens)))
    assert isinstance(done, Done)
    return done


def long_prompt(model: LlamaCppModel, turn: int) -> str:
    text = bundled_calibration_text()[turn * 1000 :]
    length = PROMPT_TOKENS
    while len(model.tokenize(text[:length])) < PROMPT_TOKENS:
        length += 100
    return text[:length]


def alone_seconds(model: LlamaCppModel, held: int, count: int) -> float:
    """To compute `count` tokens after `held` ones, as the last answer did."""
    sequence = model._sequences.current
    tokens = sequence.tokens[held : held + count]
    assert len(tokens) == count
    sequence.cut(held)
    began = perf_counter()
    assert sequence.append(tokens)
    return perf_counter() - began


def second_turn(model: LlamaCppModel, turn: int) -> dict[str, float]:
    prompt = long_prompt(model, turn)
    first = answer(model, prompt, ANSWER_TOKENS)
    second = answer(model, prompt + first.text + NEW, 3)
    usage = second.usage
    computed = usage.prompt_tokens - usage.cached_tokens
    alone = alone_seconds(model, usage.cached_tokens, computed)
    return {
        "prompt_tokens": usage.prompt_tokens,
        "computed_tokens": computed,
        "new_tokens": len(model._vocabulary.continuation(NEW) or ()),
        "first_token_over_alone": second.timings.first_token_s / alone,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = write_model(Path(scratch))
        with LlamaCppRuntime().load(path, LoadOptions(context=CONTEXT, threads=1)) as model:
            turns = [second_turn(model, turn) for turn in range(options.turns)]
    figures = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
    figures["turns"] = options.turns
    print(figures)
    write_result("second_turn", figures)


if __name__ == "__main__":
    main()

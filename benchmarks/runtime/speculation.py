"""What guessing from the text gains and costs: `python -m benchmarks.runtime.speculation`.

A made-up model that recites (tests/support/reciter.py), so that what it says is known and its size
is free: random layers, which take the time that layers of their shape take, and a head that knows
which word follows which. Three tasks at temperature 0: go on with a text that the prompt holds,
word for word; go on with one of which the prompt has one word in 25 wrong, which is like editing;
and say words of which none comes twice. Both ways of answering in turn, in one process, on the
same file; the text has to be the same. `allowed` is what the measured costs of batches would give
with drafts of one fixed length, the best one for that text, if choosing and guessing took no time.
"""

import argparse
import statistics
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

from benchmarks.report import write_result
from edgellm.events import Done
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.shifting import shared
from edgellm.runtimes.llama_cpp.speculation.ngram import NgramProposer
from edgellm.runtimes.llama_cpp.speculation.trial import BatchTrial, try_batches
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.conversions import convert_folder
from tests.support.reciter import Score, compose, write_reciter

CONTEXT, REFRAIN, STORY, EDITED = 2048, 300, 700, 25
LAYERS, HIDDEN, FFN, HEADS = 12, 1024, 2816, 16


@dataclass(frozen=True, slots=True)
class Run:
    """One answer, and the time its tokens took."""

    done: Done
    seconds: float


def tasks(score: Score) -> Mapping[str, str]:
    """The prompt of each task; what follows is the score's."""
    first = score.refrain[0]
    return {
        "copy": f"The {' '.join(score.refrain)} {first}",
        "edit": f"The {score.edited_refrain(EDITED)} {first}",
        "no repeats": f"The {score.story[0]}",
    }


def make_models(scratch: Path, formats: list[str]) -> tuple[Score, dict[str, Path]]:
    score = compose(REFRAIN, STORY)
    folder = write_reciter(
        scratch / "checkpoint",
        score,
        hidden_size=HIDDEN,
        intermediate_size=FFN,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS // 4,
        max_position_embeddings=CONTEXT,
    )
    return score, {name: convert_folder(folder, scratch / name, name).gguf for name in formats}


def answer(model: LlamaCppModel, prompt: str, tokens: int, threads: int) -> Run:
    """The prompt is read first, so that only what is said counts.

    On one thread the clock is that of the process, which stands still while others compute.
    """
    clock = process_time if threads == 1 else perf_counter
    greedy = SamplingOptions(temperature=0, repeat_penalty=1, max_tokens=tokens)
    for _ in model.generate(Request(prompt, SamplingOptions(temperature=0, max_tokens=1))):
        pass
    began = clock()
    *_, done = model.generate(Request(prompt, greedy))
    assert isinstance(done, Done)
    return Run(done, clock() - began)


def allowed(prompt: list[int], said: list[int], seconds: Mapping[int, float]) -> float:
    """How much faster drafts of the best fixed length would say this, by the costs alone."""
    return max(
        len(said) * seconds[1] / _seconds_with(prompt, said, seconds, size) for size in seconds
    )


def _seconds_with(
    prompt: list[int], said: list[int], seconds: Mapping[int, float], size: int
) -> float:
    proposer, text, spent = NgramProposer(), [*prompt, said[0]], seconds[1]
    proposer.begin(text)
    while (start := len(text) - len(prompt)) < len(said):
        drafts = []
        if size > 1 and proposer.evidence(text) is not None:
            drafts = proposer.propose(text, size - 1)
        right = shared(drafts, said[start:])
        spent += seconds[len(drafts) + 1]
        text += said[start : start + right + 1]
    return spent


def compare(path: Path, score: Score, threads: int, rounds: int, tokens: int) -> dict[str, object]:
    """Every task, answered both ways in turn."""
    options = LoadOptions(context=CONTEXT, threads=threads, speculate="ngram")
    with LlamaCppRuntime().load(path, options) as model:
        n_vocab, never = model._vocabulary.n_tokens, CancelToken()
        trial = try_batches(
            model._context, n_vocab, never, limit_s=20.0, rounds=15, depth=REFRAIN + tokens // 2
        )
        rows = {}
        for name, prompt in tasks(score).items():
            pairs = [both_ways(model, prompt, tokens, threads) for _ in range(rounds)]
            rows[name] = _row(model, prompt, pairs, trial)
            print(path.parent.name, name, rows[name], flush=True)
    return {"batches": _curve(trial), "tasks": rows}


def both_ways(model: LlamaCppModel, prompt: str, tokens: int, threads: int) -> tuple[Run, Run]:
    """One answer without guesses and one with them.

    By the same model: where a copy of the weights lies in memory moves its speed by some percent.
    """
    speculation, model._speculation = model._speculation, None
    plain = answer(model, prompt, tokens, threads)
    model._speculation = speculation
    return plain, answer(model, prompt, tokens, threads)


def _row(
    model: LlamaCppModel, prompt: str, pairs: list[tuple[Run, Run]], trial: BatchTrial
) -> dict[str, object]:
    text = pairs[0][0].done.text
    read = model.tokenize(prompt)
    said = model.tokenize(prompt + text)[len(read) :]
    usable = {size: trial.seconds[size] for size in sorted(trial.sizes(exact=True))}
    faster = statistics.median(one.seconds / other.seconds for one, other in pairs)
    bound = allowed(read, said, usable)
    last = pairs[-1][1].done.usage
    return {
        "same_text": all(run.done.text == text for pair in pairs for run in pair),
        "tokens": len(said),
        "plain_tokens_per_s": round(
            statistics.median(one.done.usage.generated_tokens / one.seconds for one, _ in pairs), 1
        ),
        "faster": round(faster, 3),
        "faster_by_round": [round(one.seconds / other.seconds, 3) for one, other in pairs],
        "allowed": round(bound, 3),
        "share_of_allowed": round(faster / bound, 3),
        "drafted": last.drafted_tokens,
        "accepted": last.accepted_tokens,
    }


def _curve(trial: BatchTrial) -> dict[str, object]:
    return {
        "token_ms": round(1e3 * trial.seconds[1], 3),
        "cost_in_single_tokens": {
            str(size): round(seconds / trial.seconds[1], 2)
            for size, seconds in sorted(trial.seconds.items())
        },
        "rounding_like_single_tokens": sorted(trial.exact),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=290, help="of each answer; 300 at most")
    parser.add_argument("--formats", nargs="+", default=["q8_0", "q4_K"])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        score, models = make_models(Path(name), arguments.formats)
        rows = {
            model: compare(path, score, arguments.threads, arguments.rounds, arguments.tokens)
            for model, path in models.items()
        }
    shape = {"layers": LAYERS, "hidden": HIDDEN, "ffn": FFN, "heads": HEADS, "kv": "q8_0/q8_0"}
    figures = {"threads": arguments.threads, "model": shape, "formats": rows}
    print(write_result(f"speculation_{arguments.threads}", figures))


if __name__ == "__main__":
    main()

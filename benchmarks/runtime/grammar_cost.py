"""What a grammar costs for each token, and how long the largest ones take to be read.

    python -m benchmarks.runtime.grammar_cost

A random model of almost no weights writes with vocabularies of 32,000 and 150,000 random words, in
the middle of a JSON text. `free`: no grammar; `accepted`: the token tried first is allowed, as with
a model that follows the format by itself; `likely`: it is not, and an allowed one is taken from the
likeliest few thousand; `any`: all of the vocabulary is checked, the most that a token can cost.
All times are this thread's own, which other programs do not lengthen by waiting.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import thread_time

import gguf
import numpy as np

from benchmarks.report import write_result
from edgellm.events import Done
from edgellm.runtimes.grammars.gbnf import check_grammar
from edgellm.runtimes.grammars.structure import grammar_of
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.constraint import Constraint
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.gguf import TinyLlama, vocabulary

SIZES = (32_000, 150_000)
TOKENS = 64
ROUNDS = 5
JSON_TEXT = grammar_of('{"type": "string"}')
PERSON = grammar_of(
    '{"type": "object", "properties": {"name": {"type": "string", "maxLength": 40},'
    ' "age": {"type": "integer", "minimum": 0}, "tags": {"type": "array", "items":'
    ' {"type": "string", "maxLength": 12}, "maxItems": 5}}, "required": ["name", "age"]}'
)
SAMPLING = SamplingOptions(temperature=1, seed=1, top_k=40, max_tokens=TOKENS)
# The longest repetitions, ways and chains that are let through.
WORST = {
    "repetitions": "root ::= " + "x{0,2000} " * 13 + '"."\nx ::= "x"\n',
    "ways": "root ::= " + " | ".join(f'"{n}"' for n in range(4_900)) + "\n",
    "chain": "".join(f"r{n} ::= r{n + 1}\n" for n in range(2_400)).replace("r0 ", "root ")
    + 'r2400 ::= "x"\n',
    "empty chain": "root ::= " + "x{0,900}\n" + 'x ::= "x"?\n',
}


@dataclass(frozen=True)
class WordModel(TinyLlama):
    """Its tokens are random words with a space in front, as most tokens of a real vocabulary."""

    n_tokens: int = 32_000
    layers: int = 1

    def _write_vocabulary(self, writer: gguf.GGUFWriter) -> list[bytes]:
        fixed = len(vocabulary()[0])
        tokens, scores, types = vocabulary(random_words(self.n_tokens - fixed))
        writer.add_tokenizer_model("llama")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        return tokens


def random_words(count: int) -> list[str]:
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < count:
        length = int(rng.integers(3, 10))
        letters = "".join(map(chr, rng.integers(97, 123, length)))
        words["▁" + letters if rng.random() < 0.6 else letters] = None
    return list(words)


def main() -> None:
    figures: dict[str, object] = {"tokens": TOKENS, "rounds": ROUNDS}
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            path = WordModel(n_tokens=size).write(Path(folder) / "words.gguf")
            with LlamaCppRuntime().load(path, LoadOptions(context=512, threads=1)) as model:
                figures[f"vocabulary_{size}"] = costs(model)
                if size == SIZES[0]:
                    figures["read_s"] = {
                        name: reading(model, grammar) for name, grammar in WORST.items()
                    }
    print(write_result("grammar_cost", figures))


def costs(model: LlamaCppModel) -> dict[str, float]:
    """Microseconds of a token, sampling alone; and of a whole answer beside one without."""
    list(model.generate(Request("warm up", SAMPLING, grammar=JSON_TEXT)))
    figures = {"free_us": median(lambda: sampling_us(model, None))}
    for name, us in (
        ("accepted", lambda: sampling_us(model, JSON_TEXT)),
        ("likely", lambda: masking_us(model, 0)),
        ("any", lambda: masking_us(model, 1)),
    ):
        figures[f"{name}_us"] = median(us)
    return figures | {
        "answer_free_us": median(lambda: answer_us(model, None)),
        "answer_json_us": median(lambda: answer_us(model, PERSON)),
    }


@contextmanager
def sampler_for(model: LlamaCppModel, grammar: str | None) -> Iterator[Sampler]:
    """One that has taken a token: under JSON_TEXT, the quotation mark that begins the text."""
    list(model.generate(Request("once", SamplingOptions(max_tokens=1))))
    with ExitStack() as stack:
        constraint = None
        if grammar is not None:
            constraint = Constraint(grammar, model._vocabulary, model._context)
            stack.enter_context(constraint)
        n_vocab = model._vocabulary.n_tokens
        sampler = stack.enter_context(Sampler(SAMPLING, n_vocab, [1], constraint))
        sampler.sample(model._context)
        yield sampler


def sampling_us(model: LlamaCppModel, grammar: str | None) -> float:
    with sampler_for(model, grammar) as sampler:
        return each_us(lambda: sampler.sample(model._context))


def masking_us(model: LlamaCppModel, chain: int) -> float:
    """A token from one of the sampler's masked chains, which is not taken."""
    with sampler_for(model, JSON_TEXT) as sampler:
        handle = sampler._masked[chain].handle
        return each_us(lambda: model._context.sample(handle))


def each_us(take: Callable[[], int]) -> float:
    began = thread_time()
    for _ in range(TOKENS):
        take()
    return (thread_time() - began) / TOKENS * 1e6


def answer_us(model: LlamaCppModel, grammar: str | None) -> float:
    began = thread_time()
    *_, done = model.generate(Request("once", SAMPLING, grammar=grammar))
    spent = thread_time() - began
    assert isinstance(done, Done)
    return spent / max(done.usage.generated_tokens, 1) * 1e6


def reading(model: LlamaCppModel, grammar: str) -> dict[str, float]:
    """Seconds to check a grammar here, and for llama.cpp to read it."""
    return {
        "check": median(lambda: seconds(lambda: check_grammar(grammar))),
        "engine": median(lambda: seconds(lambda: read_by_engine(model, grammar))),
    }


def read_by_engine(model: LlamaCppModel, grammar: str) -> None:
    handle = llama.llama_sampler_init_grammar(model._vocabulary.handle, grammar.encode(), b"root")
    assert handle
    llama.llama_sampler_free(handle)


def seconds(work: Callable[[], None]) -> float:
    began = thread_time()
    work()
    return thread_time() - began


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(ROUNDS))


if __name__ == "__main__":
    main()

"""llama.cpp's own samplers, chained; nothing is sampled in Python."""

import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from time import perf_counter

from edgellm.closing import Closing
from edgellm.errors import FormatError, UsageError
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.constraint import Constraint, MaskedChain, forbidding, make_chain
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.vocabulary import NO_TOKEN
from edgellm.runtimes.options import MAX_SEED, SamplingOptions

_FEW = 4096  # likeliest tokens, among which nearly always one is allowed


def recommended_sampling(path: Path, metadata: Mapping[str, object]) -> SamplingOptions:
    """The defaults, with what the model's makers wrote into the file in their place.

    Raises FormatError for a recommendation that means nothing.
    """

    def recommended(key: str, default: float) -> float:
        value = metadata.get(f"general.sampling.{key}", default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise FormatError(path, f"general.sampling.{key} is {value!r}; expected a number")
        # f32 turns 0.7 into 0.699999988; seven digits are all it holds.
        return float(f"{value:.7g}")

    usual = SamplingOptions()
    try:
        return SamplingOptions(
            temperature=recommended("temp", usual.temperature),
            # Below 0 is llama.cpp's other way to say that top-k is off.
            top_k=max(int(recommended("top_k", usual.top_k)), 0),
            top_p=recommended("top_p", usual.top_p),
            min_p=recommended("min_p", usual.min_p),
            repeat_penalty=recommended("penalty_repeat", usual.repeat_penalty),
            repeat_last_n=int(recommended("penalty_last_n", usual.repeat_last_n)),
        )
    except (UsageError, ValueError, OverflowError) as error:
        raise FormatError(path, f"general.sampling: {error}") from error


class Sampler(Closing):
    """Takes the tokens of one answer; the repeat penalty also sees the end of the prompt."""

    def __init__(
        self,
        options: SamplingOptions,
        n_vocab: int,
        prompt: Sequence[int],
        constraint: Constraint | None = None,
    ) -> None:
        """constraint: closed by the caller, after this."""
        self._n_vocab = n_vocab
        self._samplers = list(_samplers(options, n_vocab))
        self._chain: llama.llama_sampler_p | None = make_chain(self._samplers)
        self._penalized = deque(
            prompt[-options.repeat_last_n or len(prompt) :], options.repeat_last_n
        )
        for token in self._penalized:
            llama.llama_sampler_accept(self._chain, token)
        self._constraint = constraint
        self._masked: list[MaskedChain] = []
        if constraint is not None:
            self._masked = list(_masked_chains(constraint, self._samplers, n_vocab))

    def sample(self, context: Context, row: int = -1) -> int:
        """A token from the logits of one token of the last batch, -1 being its last.

        The token counts as taken: the penalty and the grammar go on behind it. Where a grammar
        allows nothing any more it is NO_TOKEN. Raises UsageError for a grammar that takes too
        long, StatusError for one that asks for what the vocabulary cannot write.
        """
        assert self._chain is not None
        token = context.sample(self._chain, row)
        return token if self._constraint is None else self._constrained(token, context, row)

    def close(self) -> None:
        chain, self._chain = self._chain, None
        while self._masked:
            self._masked.pop().close()
        if chain is not None:
            llama.llama_sampler_free(chain)

    def _constrained(self, token: int, context: Context, row: int) -> int:
        """The token if the grammar allows it, or one among those that it does.

        As llama.cpp's own programs do it: trying out one token costs next to nothing, and all of
        them some milliseconds. What is allowed is looked for among the _FEW likeliest tokens first:
        within these, and without filters, the distribution is the same as of masking first.
        """
        constraint = self._constraint
        assert constraint is not None
        if not constraint.allows(token):
            self._take_back()
            began = perf_counter()
            found = self._allowed(constraint, context, row)
            constraint.check_time(perf_counter() - began)
            if found is None:
                return constraint.way_out()
            token = found
            llama.llama_sampler_accept(self._chain, token)
        self._penalized.append(token)
        constraint.accept(token)
        return token

    def _allowed(self, constraint: Constraint, context: Context, row: int) -> int | None:
        """A token among those that are allowed; None when none is."""
        token = NO_TOKEN
        for masked in self._masked:
            token = context.sample(masked.handle, row)
            if constraint.allows(token):
                return token
        broken: set[int] = set()  # characters, by bytes that the grammar lets pass
        while constraint.follows(token):
            broken.add(token)
            with _masked_chain(constraint, self._samplers, self._n_vocab, broken) as narrower:
                token = context.sample(narrower.handle, row)
            if constraint.allows(token):
                return token
        return None

    def _take_back(self) -> None:
        """Let the penalty forget the last token; the other samplers remember none."""
        assert self._chain is not None
        if _is_penalty(self._samplers[0]):
            llama.llama_sampler_reset(self._samplers[0])
            for token in self._penalized:
                llama.llama_sampler_accept(self._samplers[0], token)


def _masked_chains(
    constraint: Constraint, samplers: Sequence["llama.llama_sampler_p"], n_vocab: int
) -> "Iterator[MaskedChain]":
    """Ways to take an allowed token, the quick one first, which overlooks unlikely tokens."""
    penalties = [one for one in samplers[:1] if _is_penalty(one)]
    few = llama.llama_sampler_init_top_k(_FEW)
    # Its penalty is for no token; it makes the others look for the likeliest again.
    unsorted = llama.llama_sampler_init_penalties(n_vocab, 1, 1.0, 0.0, 1.0)
    rest = samplers[len(penalties) :]
    chain = [*penalties, few, constraint.handle, unsorted, *rest]
    yield MaskedChain(chain, {len(penalties), len(penalties) + 2})
    yield _masked_chain(constraint, samplers, n_vocab, frozenset())


def _is_penalty(sampler: "llama.llama_sampler_p") -> bool:
    return bool(llama.llama_sampler_name(sampler) == b"penalties")


def _masked_chain(
    constraint: Constraint,
    samplers: Sequence["llama.llama_sampler_p"],
    n_vocab: int,
    forbidden: Set[int],
) -> MaskedChain:
    nowhere = forbidding(constraint.unseen | forbidden, n_vocab)
    return MaskedChain([nowhere, constraint.handle, *samplers], {0})


def _samplers(options: SamplingOptions, n_vocab: int) -> "Iterator[llama.llama_sampler_p]":
    if options.repeat_penalty != 1 and options.repeat_last_n:
        yield llama.llama_sampler_init_penalties(
            n_vocab, options.repeat_last_n, options.repeat_penalty, 0.0, 0.0
        )
    if options.temperature == 0:
        yield llama.llama_sampler_init_greedy()
        return
    if options.top_k:
        yield llama.llama_sampler_init_top_k(options.top_k)
    if options.top_p < 1:
        yield llama.llama_sampler_init_top_p(options.top_p, 1)
    if options.min_p > 0:
        yield llama.llama_sampler_init_min_p(options.min_p, 1)
    yield llama.llama_sampler_init_temp(options.temperature)
    seed = secrets.randbelow(MAX_SEED + 1) if options.seed is None else options.seed
    yield llama.llama_sampler_init_dist(seed)

"""llama.cpp's own samplers, chained; nothing is sampled in Python."""

import secrets
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter

from edgellm.closing import Closing
from edgellm.errors import FormatError, UsageError
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.constraint import Constraint, Unaccepting, forbidding
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.options import MAX_SEED, SamplingOptions


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
        self._samplers = list(_samplers(options, n_vocab))
        self._chain: llama.llama_sampler_p | None = _chain(self._samplers)
        self._penalized = deque(
            prompt[-options.repeat_last_n or len(prompt) :], options.repeat_last_n
        )
        for token in self._penalized:
            llama.llama_sampler_accept(self._chain, token)
        self._constraint = constraint
        self._masked: llama.llama_sampler_p | None = None
        if constraint is not None:
            forbidden = forbidding(constraint.unseen, n_vocab)
            self._masked = _chain([forbidden, constraint.handle, *self._samplers])
            self._unaccepting = Unaccepting(self._masked)

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
        masked, self._masked = self._masked, None
        if masked is not None:
            while llama.llama_sampler_chain_n(masked) > 1:
                llama.llama_sampler_chain_remove(masked, 1)  # others own these
            llama.llama_sampler_free(masked)
        if chain is not None:
            llama.llama_sampler_free(chain)

    def _constrained(self, token: int, context: Context, row: int) -> int:
        """The token if the grammar allows it, or one among those that it does.

        As llama.cpp's own programs do it: trying out one token costs next to nothing, and all of
        them some milliseconds. Without filters the distribution is the same as of masking first.
        """
        assert self._constraint is not None
        if not self._constraint.allows(token):
            self._take_back()
            began = perf_counter()
            token = context.sample(self._unaccepting.handle, row)
            self._constraint.check_time(perf_counter() - began)
            if not self._constraint.allows(token):
                return self._constraint.way_out()
            llama.llama_sampler_accept(self._chain, token)
        self._penalized.append(token)
        self._constraint.accept(token)
        return token

    def _take_back(self) -> None:
        """Let the penalty forget the last token; the other samplers remember none."""
        assert self._chain is not None
        if self._penalized.maxlen and llama.llama_sampler_name(self._samplers[0]) == b"penalties":
            llama.llama_sampler_reset(self._samplers[0])
            for token in self._penalized:
                llama.llama_sampler_accept(self._samplers[0], token)


def _chain(samplers: "Iterable[llama.llama_sampler_p]") -> "llama.llama_sampler_p":
    params = llama.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = llama.llama_sampler_chain_init(params)
    for sampler in samplers:
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


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

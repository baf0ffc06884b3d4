"""llama.cpp's own samplers, chained; nothing is sampled in Python."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgellm.closing import Closing
from edgellm.errors import FormatError, UsageError
from edgellm.runtimes.llama_cpp.bindings import llama
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
    """A chain for one answer; the repeat penalty also sees the end of the prompt."""

    def __init__(self, options: SamplingOptions, n_vocab: int, prompt: Sequence[int]) -> None:
        params = llama.llama_sampler_chain_default_params()
        params.no_perf = True
        self._chain: int | None = llama.llama_sampler_chain_init(params)
        for sampler in _samplers(options, n_vocab):
            llama.llama_sampler_chain_add(self._chain, sampler)
        if options.repeat_last_n:
            for token in prompt[-options.repeat_last_n :]:
                llama.llama_sampler_accept(self._chain, token)

    def sample(self, context: Context, row: int = -1) -> int:
        """A token from the logits of one token of the last batch, -1 being its last.

        The token counts as taken: the penalty sees it from now on.
        """
        assert self._chain is not None
        return context.sample(self._chain, row)

    def close(self) -> None:
        chain, self._chain = self._chain, None
        if chain is not None:
            llama.llama_sampler_free(chain)


def _samplers(options: SamplingOptions, n_vocab: int) -> Iterator[int]:
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

"""Guesses by a smaller model with the same vocabulary, which takes the likeliest token each time.

Leviathan et al., "Fast inference from transformers via speculative decoding", 2023; here a guess
counts only where the large model takes that very token.
"""

import statistics
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter

from edgellm.closing import Closing
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.llama_cpp.shifting import shared
from edgellm.runtimes.options import SamplingOptions

_LIKELIEST = SamplingOptions(temperature=0, repeat_penalty=1)
_SAMPLES = 9  # of what a token takes
_TRIED = 5  # tokens, to begin with
_FEW = 2  # tokens that are new to the draft model after most checks


class DraftModel(Closing):
    """Owns a model and its context; its cache follows the text by their common beginning."""

    priors = (0.7,)

    def __init__(
        self,
        handle: llama.llama_model_p,
        context: Context,
        buffers: BufferBytes,
        n_vocab: int,
        context_tokens: int,
    ) -> None:
        self._handle: llama.llama_model_p | None = handle
        self._context = context
        self.buffers = buffers
        self._context_tokens = context_tokens
        self._n_vocab = n_vocab
        self._held: list[int] = []  # tokens in the cache
        self._agreed = 0  # of those, how many are known to be the text's
        self._seconds: deque[float] = deque(maxlen=_SAMPLES)
        for _ in range(_TRIED):
            began = perf_counter()
            self._context.decode_one(0)
            self._seconds.append(perf_counter() - began)
        self._context.clear()

    @property
    def token_seconds(self) -> float:
        """See Proposer.token_seconds: the median of late."""
        return statistics.median(self._seconds)

    @contextmanager
    def answering(self, cancel: CancelToken) -> Iterator[None]:
        """See Proposer.answering."""
        with Sampler(_LIKELIEST, self._n_vocab, ()) as self._sampler, self._context.heeding(cancel):
            yield

    def begin(self, tokens: Sequence[int]) -> None:
        """See Proposer.begin; nothing is computed before a guess is wanted."""
        self._agreed = shared(self._held, tokens)

    def evidence(self, tokens: Sequence[int]) -> int | None:
        """See Proposer.evidence: as long as the text fits this model's context."""
        return 0 if len(tokens) < self._context_tokens else None

    def propose(self, tokens: Sequence[int], count: int) -> list[int]:
        """See Proposer.propose; none when cancelled."""
        began = perf_counter()
        count = min(count, self._context_tokens - len(tokens) + 1)
        missing = self._rewind(tokens)
        if not self._read(tokens):
            return []
        drafts = [self._sampler.sample(self._context)]
        while len(drafts) < count:
            if not self._context.decode_one(drafts[-1]):
                return []
            self._held.append(drafts[-1])
            drafts.append(self._sampler.sample(self._context))
        if missing <= _FEW:
            self._seconds.append((perf_counter() - began) / count)
        return drafts

    def close(self) -> None:
        self._context.close()
        handle, self._handle = self._handle, None
        if handle is not None:
            llama.llama_model_free(handle)

    def _rewind(self, tokens: Sequence[int]) -> int:
        """Forget what the text does not hold; returns how many of its tokens are missing."""
        held, agreed = self._held, self._agreed
        # The last token is read in any case: its logits are wanted.
        most = min(len(held), len(tokens) - 1)
        while agreed < most and held[agreed] == tokens[agreed]:
            agreed += 1
        agreed = min(agreed, most)
        # A batch that was cancelled may have left cells behind.
        self._context.cut(0, agreed)
        del held[agreed:]
        self._agreed = agreed
        return len(tokens) - agreed

    def _read(self, tokens: Sequence[int]) -> bool:
        """Compute the rest of the text; False when cancelled."""
        held = self._held
        while len(held) < len(tokens):
            piece = tokens[len(held) : len(held) + self._context.ubatch]
            if not self._context.decode(piece):
                return False
            held.extend(piece)
        self._agreed = len(held)
        return True

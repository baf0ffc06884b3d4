"""What a loaded model has learnt about guessing its tokens, over all of its answers."""

from collections.abc import Mapping

from edgellm.closing import Closing
from edgellm.memory import F32_BYTES
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes
from edgellm.runtimes.llama_cpp.speculation.acceptance import Acceptance
from edgellm.runtimes.llama_cpp.speculation.batch_costs import BatchCosts
from edgellm.runtimes.llama_cpp.speculation.draft_length import best_draft_length
from edgellm.runtimes.llama_cpp.speculation.proposer import Proposer
from edgellm.runtimes.llama_cpp.speculation.trial import MOST_DRAFTED, BatchTrial

# Of the time of single steps, what may be spent on guesses that are only compared.
_WATCHING_SHARE = 0.01
_WATCHED = 4  # tokens, where guessing takes time
# Of the rate of single tokens: a batch that is expected to give so much is tried again after so
# many single tokens for each of its own, which costs a hundredth at most.
_WORTH_A_TRY, _TRY_AFTER = 0.7, 32


class Speculation(Closing):
    """Owns the proposer of one model; decides how many tokens to guess."""

    def __init__(self, proposer: Proposer, trial: BatchTrial, n_vocab: int) -> None:
        self.proposer = proposer
        self._n_vocab = n_vocab
        self._sizes = {exact: trial.sizes(exact=exact) for exact in (False, True)}
        self._acceptance = Acceptance(proposer.priors, MOST_DRAFTED)
        self._costs = BatchCosts(trial.seconds)
        self._allowance_s = 0.0
        self._singles = 0  # batches of one token since the last larger one

    @property
    def buffers(self) -> BufferBytes:
        """What guessing takes beside the model and its context.

        The engine makes room for more rows of logits when the first batch wants them.
        """
        rows = BufferBytes(compute_bytes=F32_BYTES * MOST_DRAFTED * self._n_vocab)
        return self.proposer.buffers + rows

    def helps(self, *, exact: bool) -> bool:
        """Whether there is a size of batch that such an answer may use."""
        return len(self._sizes[exact]) > 1

    def draft_length(self, evidence: int, most: int, *, exact: bool) -> int:
        """Tokens to guess now, at most so many; 0 when that does not pay.

        Now and then what nearly pays is tried: costs may have been measured in a bad moment.
        """
        chances, costs = self._acceptance.chances(evidence), self._allowed(exact)
        token_seconds = self.proposer.token_seconds
        if best := best_draft_length(chances, costs, token_seconds, most):
            return best
        if self._singles < 2 * _TRY_AFTER:
            return 0
        near = best_draft_length(chances, costs, token_seconds, most, _WORTH_A_TRY)
        return near if self._singles >= _TRY_AFTER * (near + 1) else 0

    def fitting(self, drafted: int, *, exact: bool) -> int:
        """How much of a draft fills a batch of an allowed size."""
        return max(size for size in self._sizes[exact] if size <= drafted + 1) - 1

    def checked(self, evidence: int, drafted: int, accepted: int) -> None:
        """A draft turned out so."""
        self._acceptance.observe(evidence, drafted, accepted)

    def computed(self, size: int, seconds: float) -> None:
        """A batch took so long."""
        self._costs.observe(size, seconds)
        if size == 1:
            self._singles += 1
            self._allowance_s += seconds * _WATCHING_SHARE
        else:
            self._singles = 0

    def watch_length(self) -> int:
        """Tokens to guess only to see how they would have done; 0 when that costs too much now."""
        token_seconds = self.proposer.token_seconds
        if not token_seconds:
            return MOST_DRAFTED
        return _WATCHED if self._allowance_s >= _WATCHED * token_seconds else 0

    def watched(self, seconds: float) -> None:
        """Guessing so took so long."""
        if self.proposer.token_seconds:
            self._allowance_s -= seconds

    def close(self) -> None:
        self.proposer.close()

    def _allowed(self, exact: bool) -> Mapping[int, float]:
        seconds = self._costs.seconds()
        return {size: seconds[size] for size in self._sizes[exact]}

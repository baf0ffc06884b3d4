"""An answer whose tokens are guessed and then checked, several in one batch."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from time import perf_counter

from edgellm.runtimes.llama_cpp.context import Context, NoRoomError
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.sampling import Sampler
from edgellm.runtimes.llama_cpp.sequences import CachedSequence
from edgellm.runtimes.llama_cpp.speculation.speculation import Speculation
from edgellm.runtimes.llama_cpp.speculation.watch import Watch


class SpeculativeDecoder:
    """See edgellm.runtimes.llama_cpp.decoding.Decoder.

    Each row of a batch is sampled as a single token is, until one differs from its guess: what
    was guessed after that is forgotten. So every token is drawn from the model's own distribution
    by the same sampler in the same state, whatever was guessed.
    """

    def __init__(
        self,
        context: Context,
        sequence: CachedSequence,
        sampler: Sampler,
        speculation: Speculation,
        pieces: Mapping[int, bytes | None],
        *,
        context_tokens: int,
        exact: bool,
    ) -> None:
        """pieces: None for tokens that end an answer. exact: only batches that round like single
        tokens may be used, so that the answer is that of single tokens.
        """
        self._context = context
        self._sequence = sequence
        self._sampler = sampler
        self._speculation = speculation
        self._pieces = pieces
        self._context_tokens = context_tokens
        self._exact = exact
        self._text: list[int] = []  # all tokens, the last of them not yet in the sequence
        self._watch: Watch | None = None
        self._evidence = 0  # class of the last guesses
        self._batched = False  # whether each token of the last batch has a row of logits
        self.drafted = 0
        self.accepted = 0

    def next(self) -> Sequence[int]:
        """See Decoder.next."""
        if not self._text:
            found = [self._sampler.sample(self._context)]
            self._begin(found[0])
            return found
        if len(self._text) != len(self._sequence.tokens) + 1:
            self._begin(self._text[-1])  # turns have left the context
        found = self._check(drafts) if (drafts := self._drafts()) else self._step()
        self._text.extend(found)
        if self._watch is not None and self._watch.ends(found):
            self._speculation.checked(*self._watch.outcome)
            self._watch = None
        return found

    def row(self, index: int) -> int:
        """See Decoder.row."""
        return index if self._batched else -1

    def _begin(self, pending: int) -> None:
        self._text = [*self._sequence.tokens, pending]
        self._speculation.proposer.begin(self._text)
        self._watch = None

    def _drafts(self) -> list[int]:
        """Guesses worth a batch; or none, and perhaps some to watch."""
        evidence = self._speculation.proposer.evidence(self._text)
        if evidence is None:
            return []
        self._evidence = evidence
        room = self._context_tokens - len(self._text)
        if count := self._speculation.draft_length(evidence, room, exact=self._exact):
            drafts = self._guess(count)
            return drafts[: self._speculation.fitting(len(drafts), exact=self._exact)]
        if self._watch is None and (count := min(self._speculation.watch_length(), room)):
            began = perf_counter()
            if draft := self._guess(count):
                self._watch = Watch(evidence, draft)
            self._speculation.watched(perf_counter() - began)
        return []

    def _guess(self, count: int) -> list[int]:
        """Guesses up to where one would end the answer: nothing is to be computed after that."""
        guesses = self._speculation.proposer.propose(self._text, count)
        return list(takewhile(lambda token: self._pieces[token] is not None, guesses))

    def _step(self) -> list[int]:
        """One token, as without guesses; none when cancelled."""
        began = perf_counter()
        if not self._sequence.append_one(self._text[-1]):
            return []
        self._batched = False
        token = self._sampler.sample(self._context)
        self._speculation.computed(1, perf_counter() - began)
        return [token]

    def _check(self, drafts: list[int]) -> list[int]:
        """The drafts that are right and the token after them; none when cancelled."""
        began = perf_counter()
        size, held = len(drafts) + 1, len(self._text)
        try:
            # Other sequences make room when single tokens need it, no earlier: the cells, and with
            # them the order in which attention adds up, are to be those of single tokens.
            added = self._sequence.append([self._text[-1], *drafts], range(size), drops=False)
        except NoRoomError:
            return self._step()
        if not added:
            return []
        self._batched = True
        found = [self._sampler.sample(self._context, 0)]
        self._speculation.computed(size, perf_counter() - began)
        for row, draft in enumerate(drafts, 1):
            if found[-1] != draft:
                break
            found.append(self._sampler.sample(self._context, row))
        accepted = len(found) - 1
        if accepted < len(drafts) and not self._sequence.cut(held + accepted):
            raise StatusError("the KV cache cannot forget guesses that were wrong")
        self.drafted += len(drafts)
        self.accepted += accepted
        self._speculation.checked(self._evidence, len(drafts), accepted)
        return found

"""A grammar that the tokens of one answer follow."""

import ctypes
from codecs import getincrementaldecoder
from collections.abc import Iterable, Sequence, Set
from time import perf_counter

from edgellm.closing import Closing
from edgellm.errors import UsageError
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.vocabulary import NO_TOKEN, Vocabulary

LIMIT_S = 1.0  # for one token; an ambiguous grammar takes four times as long with each


class Constraint(Closing):
    """Says which token may come next; owns llama.cpp's reading of the grammar."""

    def __init__(
        self, grammar: str, vocabulary: Vocabulary, context: Context, shown: tuple[str, ...] = ()
    ) -> None:
        """shown: control tokens that are text in this answer. Raises UsageError."""
        from edgellm.runtimes.grammars.gbnf import check_grammar

        check_grammar(grammar)
        self._context = context
        self._end = vocabulary.engine_end
        self.unseen = vocabulary.unseen(shown)
        with context.hold():
            handle = llama.llama_sampler_init_grammar(vocabulary.handle, grammar.encode(), b"root")
        if not handle:
            raise UsageError("llama.cpp cannot follow this grammar; simplify it")
        self.handle: llama.llama_sampler_p | None = handle
        self._pieces = vocabulary.pieces(shown)
        self._begun = b""  # of a character
        self._candidate = llama.llama_token_data()
        self._candidates = llama.llama_token_data_array(
            ctypes.pointer(self._candidate), 1, -1, False
        )
        self._pointer = ctypes.pointer(self._candidates)

    def allows(self, token: int) -> bool:
        """Whether it may come next; a token that shows nothing never may."""
        return self.follows(token) and _begun(self._begun + self._piece(token)) is not None

    def follows(self, token: int) -> bool:
        """Whether the grammar takes it, which lets pass some bytes that are no UTF-8."""
        if token in self.unseen:
            return False
        self._candidate.id, self._candidate.logit = token, 0.0
        with self._context.hold():
            llama.llama_sampler_apply(self.handle, self._candidates)
        return bool(self._candidate.logit == 0)

    def accept(self, token: int) -> None:
        """Go on behind an allowed token. Raises UsageError when that took too long."""
        self._begun = _begun(self._begun + self._piece(token)) or b""
        began = perf_counter()
        with self._context.hold():
            llama.llama_sampler_accept(self.handle, token)
        self.check_time(perf_counter() - began)

    def _piece(self, token: int) -> bytes:
        return self._pieces[token] or b""

    def check_time(self, seconds: float) -> None:
        if seconds > LIMIT_S:
            raise UsageError(
                f"the grammar took {seconds:.1f} s for one token; too many ways to read the same"
                " text, write rules that begin differently"
            )

    def way_out(self) -> int:
        """The token to take where none is allowed.

        Raises StatusError unless that may be because the text is complete.
        """
        if self._end is not None:
            raise StatusError("the grammar asks for text that the model's vocabulary cannot write")
        return NO_TOKEN

    def close(self) -> None:
        handle, self.handle = self.handle, None
        if handle is not None:
            llama.llama_sampler_free(handle)


def _begun(raw: bytes) -> bytes | None:
    """The bytes at the end that begin a character; None where the bytes are no UTF-8."""
    if raw.isascii():
        return b""
    decoder = getincrementaldecoder("utf-8")("strict")
    try:
        decoder.decode(raw)
    except UnicodeDecodeError:
        return None
    begun = decoder.getstate()[0]
    # The decoder would let halves of surrogates be told by their last byte.
    return None if begun[:1] == b"\xed" and begun[1:] >= b"\xa0" else begun


def forbidding(tokens: Iterable[int], n_vocab: int) -> "llama.llama_sampler_p":
    """A sampler that never takes these tokens."""
    listed = sorted(tokens)
    biases = (llama.llama_logit_bias * len(listed))()
    for bias, token in zip(biases, listed, strict=True):
        bias.token, bias.bias = token, float("-inf")
    return llama.llama_sampler_init_logit_bias(n_vocab, len(listed), biases)


def make_chain(samplers: "Iterable[llama.llama_sampler_p]") -> "llama.llama_sampler_p":
    """Apply these in turn; frees them when it is freed."""
    params = llama.llama_sampler_chain_default_params()
    params.no_perf = True
    chain = llama.llama_sampler_chain_init(params)
    for sampler in samplers:
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


class MaskedChain(Closing):
    """Applies samplers that others own, and a grammar, and does not count tokens as taken.

    llama_sampler_sample() accepts what it takes, and a grammar ends the process over a token that
    it does not allow. So `handle` has the chain's way to apply, and none to accept.
    """

    _APPLY = 2  # of the functions in llama_sampler_i, after name and accept

    def __init__(self, samplers: Sequence["llama.llama_sampler_p"], own: Set[int]) -> None:
        """own: indices of samplers that are freed with this."""
        self._own = own
        self._chain: llama.llama_sampler_p | None = make_chain(samplers)
        chain = self._chain.contents
        functions = ctypes.cast(chain.iface, ctypes.POINTER(ctypes.c_void_p))
        # More than any version of llama.cpp has: what is not there must be empty.
        self._functions = (ctypes.c_void_p * 32)()
        self._functions[self._APPLY] = functions[self._APPLY]
        interface = ctypes.cast(self._functions, type(chain.iface))
        self.handle: llama.llama_sampler_p = ctypes.pointer(
            llama.llama_sampler(interface, chain.ctx)
        )

    def close(self) -> None:
        chain, self._chain = self._chain, None
        if chain is None:
            return
        for index in reversed(range(llama.llama_sampler_chain_n(chain))):
            if index not in self._own:
                llama.llama_sampler_chain_remove(chain, index)
        llama.llama_sampler_free(chain)

"""Prepares a model that has just been loaded for speculation."""

from contextlib import ExitStack
from pathlib import Path

from edgellm.errors import Cancelled, UsageError
from edgellm.events import EngineFallback
from edgellm.gguf_file import GGUFFile, read_gguf
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import Library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.logged_memory import BufferBytes, logged_bytes
from edgellm.runtimes.llama_cpp.preconditions import check_tensors, choose_kv_formats, read_facts
from edgellm.runtimes.llama_cpp.sequences import MemoryKind
from edgellm.runtimes.llama_cpp.speculation.draft_file import check_vocabularies
from edgellm.runtimes.llama_cpp.speculation.draft_model import DraftModel
from edgellm.runtimes.llama_cpp.speculation.findings import Draft, Guessing, find_trial
from edgellm.runtimes.llama_cpp.speculation.memory import LOGITS_ROWS
from edgellm.runtimes.llama_cpp.speculation.ngram import NgramProposer
from edgellm.runtimes.llama_cpp.speculation.proposer import Proposer
from edgellm.runtimes.llama_cpp.speculation.speculation import Speculation
from edgellm.runtimes.llama_cpp.speculation.trial import ROOM
from edgellm.runtimes.protocol import EventSink, ignore_events

_NO_WAY_BACK = "this model keeps a state or a window, which cannot go back over a wrong guess"
_TOO_SMALL = f"it takes a context of at least {ROOM} tokens and a ubatch of {LOGITS_ROWS}"
_NONE_EXACT = (
    "speculation waits for answers with a temperature and no seed: here, batches of this model "
    "round unlike single tokens, so that other answers could come out different"
)


def read_draft(path: Path, model: GGUFFile) -> GGUFFile:
    """Check a draft model's file before anything is loaded. Raises InputError, UsageError."""
    file = read_gguf(path)
    read_facts(file)
    check_tensors(file)
    check_vocabularies(model, file)
    return file


def can_speculate(kind: MemoryKind, guessing: Guessing, on_event: EventSink) -> bool:
    """Whether this model can have its tokens guessed; tells why it cannot."""
    if not kind.branches:
        on_event(EngineFallback(f"speculation is off: {_NO_WAY_BACK}"))
    elif guessing.context_tokens < ROOM or guessing.ubatch < LOGITS_ROWS:
        on_event(EngineFallback(f"speculation is off: {_TOO_SMALL}"))
    else:
        return True
    return False


def open_speculation(
    library: Library,
    context: Context,
    n_vocab: int,
    guessing: Guessing,
    on_event: EventSink,
    cancel: CancelToken,
) -> Speculation:
    """Try batches on the context, which gives LOGITS_ROWS rows of logits, and load the draft model.

    Raises Cancelled, RuntimeFailure, UsageError, OutputError.
    """
    with library.failures("trying batches"), context.heeding(cancel):
        trial = find_trial(context, n_vocab, guessing, cancel)
    if cancel.cancelled:
        raise Cancelled(f"loading {guessing.file.path} was cancelled")
    if not trial.exact:
        on_event(EngineFallback(_NONE_EXACT))
    proposer: Proposer = NgramProposer()
    if guessing.draft is not None:
        proposer = _load_draft(library, guessing.draft, n_vocab, guessing, cancel)
    return Speculation(proposer, trial, n_vocab)


def _load_draft(
    library: Library, draft: Draft, n_vocab: int, guessing: Guessing, cancel: CancelToken
) -> DraftModel:
    """With the caches that its heads allow, for as much of the context as it was trained for."""
    facts = read_facts(draft.file)
    formats = choose_kv_formats(None, None, facts, on_gpu=guessing.gpu_layers != 0)
    context_tokens = min(guessing.context_tokens, facts.trained_context)
    with ExitStack() as undo:
        handle = load_weights(
            library,
            draft.file.path,
            gpu_layers=guessing.gpu_layers,
            extra_buffers=guessing.extra_buffers,
            adds_space_prefix=True,
            weights=guessing.weights,
            on_event=ignore_events,
            cancel=cancel,
        )
        undo.callback(llama.llama_model_free, handle)
        if not MemoryKind.of(handle).branches:
            raise UsageError(
                f"{draft.file.path}: cannot draft: {_NO_WAY_BACK}; use a model without one"
            )
        mark = library.mark()
        context = make_context(
            library,
            handle,
            formats,
            context_tokens=context_tokens,
            ubatch=guessing.ubatch,
            threads=draft.threads,
        )
        undo.pop_all()
    logged = logged_bytes(library.lines_since(mark))
    buffers = BufferBytes(llama.llama_model_size(handle), *logged)
    return DraftModel(handle, context, buffers, n_vocab, context_tokens)

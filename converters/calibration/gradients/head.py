"""The output head in pieces of its rows: logits of the whole vocabulary never exist at once."""

import torch

from edgellm.converters.calibration.gradients.decoder import normed
from edgellm.converters.calibration.gradients.job import (
    SCORED,
    Job,
    Piece,
    scored_positions,
    tensor_of,
)
from edgellm.converters.calibration.gradients.observer import Observer
from edgellm.converters.calibration.gradients.targets import Targets
from edgellm.errors import RuntimeFailure
from edgellm.spec import Role


def turn_back(job: Job, targets: Targets, observer: Observer) -> None:
    """From the last hidden states to the gradients of the loss by them.

    Raises RuntimeFailure for logits that are not finite.
    """
    norm = job.load(tensor_of(job.spec, Role.OUTPUT_NORM))
    totals = _log_totals(job, norm)
    below = torch.zeros_like(totals)
    for piece in job.head_pieces():
        for window in job.windows:
            inputs = _inputs(job, norm, window)
            probabilities = (_logits(inputs, piece) - totals[window, :, None]).exp()
            hits = targets.hits(window, piece.start, below[window], probabilities)
            below[window] += probabilities.sum(dim=1)
            gradients = probabilities - hits
            observer.head(piece.start, inputs, gradients, probabilities)
            _add_gradient(job, window, piece, gradients)
            job.meter.add(piece.weights.numel(), "head")
    for window in job.windows:
        _pass_norm(job, norm, window)


def _log_totals(job: Job, norm: torch.Tensor) -> torch.Tensor:
    """log sum exp of the logits at each scored position: [windows, positions]."""
    shape = (len(job.tokens), scored_positions(job.tokens.shape[1]))
    totals = torch.full(shape, -torch.inf, dtype=torch.float64)
    for piece in job.head_pieces():
        for window in job.windows:
            found = _logits(_inputs(job, norm, window), piece).logsumexp(dim=1)
            totals[window] = torch.logaddexp(totals[window], found)
            job.meter.add(piece.weights.numel(), "head")
    if not totals.isfinite().all():
        raise RuntimeFailure("torch", "the model's logits are not finite")
    return totals


def _add_gradient(job: Job, window: int, piece: Piece, gradients: torch.Tensor) -> None:
    """Sum up over the pieces what the head's inputs get."""
    slot = job.gradient_slot
    shape = (job.tokens.shape[1], job.spec.hidden_size)
    found = (
        job.states.read(slot, window) if piece.start else torch.zeros(shape, dtype=job.precision)
    )
    found[SCORED] += gradients.to(job.precision) @ piece.weights
    job.states.write(slot, window, found)


def _pass_norm(job: Job, norm: torch.Tensor, window: int) -> None:
    hidden = job.states.read(job.spec.layers, window).requires_grad_()
    normed(hidden, norm, job.spec).backward(job.states.read(job.gradient_slot, window))
    job.states.write(job.gradient_slot, window, hidden.grad)


def _inputs(job: Job, norm: torch.Tensor, window: int) -> torch.Tensor:
    """What the head sees at the scored positions: [positions, hidden_size]."""
    return normed(job.states.read(job.spec.layers, window), norm, job.spec)[SCORED]


def _logits(inputs: torch.Tensor, piece: Piece) -> torch.Tensor:
    """[positions, rows of the piece], float64."""
    return (inputs @ piece.weights.T).double()

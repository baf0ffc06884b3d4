"""Forth and back through a model with one layer in memory.

Resident at once: one layer in float32 (8B Llama: 218 M weights, 0.87 GiB), a piece of the head
(128 MiB), the activations of one window (under 0.3 GiB), and the states between the layers up to
1 GiB; above that all of them (34 x 64 windows x 256 tokens x 4096 x 4 bytes = 8.5 GiB) lie in an
unnamed file. So an 8B model needs about 2.5 GiB of memory. Time: six operations for each weight and
token, two of them to compute each layer anew.
"""

from collections.abc import Mapping, Sequence

import torch

from edgellm.checkpoint import Checkpoint
from edgellm.converters.calibration.gradients.decoder import DecoderLayer, rotation
from edgellm.converters.calibration.gradients.head import turn_back
from edgellm.converters.calibration.gradients.job import Job, Meter, tensor_of
from edgellm.converters.calibration.gradients.observer import Observer
from edgellm.converters.calibration.gradients.states import hidden_states
from edgellm.converters.calibration.gradients.targets import Targets
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.spec import ModelSpec, Role


def backpropagate(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    windows: Sequence[Sequence[int]],
    targets: Targets,
    observer: Observer,
    *,
    precision: torch.dtype = torch.float32,
    progress: ProgressSink = ignore_progress,
) -> None:
    """Show the observer every matrix's inputs and gradients in every window.

    windows: of equal length, no longer than a sliding window of the model.
    progress: float32 bytes of weights run through.
    Raises RuntimeFailure for numbers that are not finite, OutputError for a full disk.
    """
    tokens = torch.tensor(windows)
    length = tokens.shape[1]
    shape = (length, spec.hidden_size)
    turns = rotation(spec, length, precision)
    meter = Meter(spec, len(windows), progress)
    with hidden_states(spec.layers + 2, len(windows), shape, precision) as states:
        job = Job(checkpoint, spec, tokens, states, turns, precision, meter)
        _embed(job)
        for layer in range(spec.layers):
            _forward(job, layer)
        turn_back(job, targets, observer)
        for layer in reversed(range(spec.layers)):
            _backward(job, layer, observer)
        for window in job.windows:
            rows, gradients = states.read(0, window), states.read(job.gradient_slot, window)
            observer.lookup(tokens[window], rows, gradients)


def _embed(job: Job) -> None:
    name = tensor_of(job.spec, Role.TOKEN_EMBEDDING).name
    used, places = job.tokens.unique(return_inverse=True)
    read = [torch.from_numpy(job.checkpoint.read_rows(name, i, i + 1)) for i in used.tolist()]
    rows = torch.cat(read).to(job.precision)
    for window in job.windows:
        job.states.write(0, window, rows[places[window]])


def _forward(job: Job, layer: int) -> None:
    tensors = {tensor.role: job.load(tensor) for tensor in job.layer(layer)}
    for window in job.windows:
        with torch.no_grad():
            run = DecoderLayer(job.spec, tensors, job.rotation)
            state = run.run(job.states.read(layer, window))
        job.states.write(layer + 1, window, state)
        _report(job, tensors, layer)


def _backward(job: Job, layer: int, observer: Observer) -> None:
    tensors = {tensor.role: job.load(tensor) for tensor in job.layer(layer)}
    names = {tensor.role: tensor.name for tensor in job.layer(layer)}
    for window in job.windows:
        hidden = job.states.read(layer, window).requires_grad_()
        run = DecoderLayer(job.spec, tensors, job.rotation)
        run.run(hidden).backward(job.states.read(job.gradient_slot, window))
        for product in run.products:
            observer.product(names[product.role], product.inputs, product.outputs.grad)
        job.states.write(job.gradient_slot, window, hidden.grad)
        _report(job, tensors, layer)


def _report(job: Job, tensors: Mapping[Role, torch.Tensor], layer: int) -> None:
    job.meter.add(sum(tensor.numel() for tensor in tensors.values()), f"layer {layer}")

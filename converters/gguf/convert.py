"""A checkpoint and a plan become an artifact that llama.cpp runs."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

from edgellm.artifact import MODEL_GGUF, Artifact, Source
from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.ggml import Ggml, load_ggml
from edgellm.converters.gguf.quantize import Chunks, quantized_chunks
from edgellm.converters.gguf.tensors import output_tensors
from edgellm.converters.gguf.writer import build_preamble, section_ends
from edgellm.converters.resumable import ResumableFile
from edgellm.converters.rounding.moments import calibration_digest, rounding_moments
from edgellm.converters.rounding.rounding import GgmlRounding
from edgellm.converters.sources import SourceFiles
from edgellm.converters.threads import thread_count
from edgellm.converters.workspace import Workspace, open_workspace
from edgellm.files import output_errors, require_space
from edgellm.formats import Tables
from edgellm.plan import Plan
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.spec import ModelSpec


def convert(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    plan: Plan,
    out: Path,
    *,
    tables: Tables,
    calibration: Calibration | None = None,
    progress: ProgressSink = ignore_progress,
    threads: int | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Write the artifact folder `out`: `model.gguf` with the plan's formats, and `edgellm.json`.

    `out` appears complete or not at all. A conversion that was stopped goes on where it was when
    started again with the same checkpoint, plan, calibration and versions; the bytes are the same
    either way. calibration: input statistics that guide the rounding, as some formats demand.
    threads: how many quantize; None for one on each core. overwrite: replace an artifact at `out`.
    Raises InputError for a plan or checkpoint that cannot be converted, OutputError for an `out`
    that cannot be written.
    """
    ggml = load_ggml()
    workers = thread_count(threads)
    moments = rounding_moments(spec, calibration)
    calibrated = None if calibration is None else calibration_digest(calibration)
    tensors = output_tensors(spec, plan, tables, moments)
    sources = SourceFiles(checkpoint.files)
    preamble = build_preamble(checkpoint, spec, tensors)
    versions = _versions(ggml)
    with open_workspace(out, overwrite=overwrite) as space, sources:
        rounding = GgmlRounding(ggml)
        decisive = (sources.identity, sorted(versions.items()), calibrated, rounding.identity)
        fingerprint = _fingerprint(preamble, decisive)
        ends = section_ends(preamble, tensors)
        with _open_model(space, fingerprint, ends, progress) as model:
            if model.sections == 0:
                model.write(preamble)
                model.end_section()
            rest = tensors[model.sections - 1 :]
            chunks = quantized_chunks(checkpoint, rest, rounding, workers, moments)
            _write_chunks(model, chunks, progress)
            entry = model.finish()
        source = Source(spec.name, spec.family, sources.entries(progress))
        artifact = Artifact(space.out, plan, (entry,), source, versions, calibrated)
        artifact.write_manifest(space.artifact)
        space.publish()
    return artifact


def _write_chunks(model: ResumableFile, chunks: Chunks, progress: ProgressSink) -> None:
    with closing(chunks):
        for chunk, blocks in chunks:
            model.write(blocks.data)
            if chunk.is_last:
                model.end_section()
            name = chunk.tensor.name
            progress(Progress("quantize", model.position_bytes, model.total_bytes, name))


def _open_model(
    space: Workspace, fingerprint: str, ends: Sequence[int], progress: ProgressSink
) -> ResumableFile:
    path = space.artifact / MODEL_GGUF
    there_bytes = path.stat().st_size if path.is_file() else 0
    require_space(space.folder, ends[-1] - there_bytes)
    with output_errors(path):
        space.artifact.mkdir(exist_ok=True)
    return ResumableFile(path, space.journal, fingerprint, ends, progress)


def _fingerprint(preamble: bytes, decisive: tuple[object, ...]) -> str:
    """Digest of all that decides the bytes; the preamble holds every tensor's format and place."""
    digest = hashlib.sha256(preamble)
    digest.update(repr(decisive).encode())
    return digest.hexdigest()


def _versions(ggml: Ggml) -> Mapping[str, str]:
    packages = {name: version(name) for name in ("edgellm", "gguf", "llama-cpp-python")}
    return {**packages, "ggml": ggml.version}

"""Artifact folders with any content, without a conversion."""

import hashlib
from pathlib import Path

from edgellm.artifact import MODEL_GGUF, Artifact, FileEntry, Source
from edgellm.plan import KVPlan, MemoryParts, Plan, TensorChoice


def make_plan(tensors: tuple[TensorChoice, ...] = ()) -> Plan:
    """A plan that claims nothing but its tensors."""
    weights_bytes = sum(choice.bytes for choice in tensors)
    return Plan(
        engine="llama.cpp",
        budget_bytes=weights_bytes,
        ubatch=512,
        memory=MemoryParts(weights_bytes, 0, 0, 0),
        tensors=tensors,
        bits_per_weight=8.0,
        kv=KVPlan("q8_0", "q8_0", 8.5, 512),
        sensitivity="uniform",
        predicted_kl_divergence=None,
        predicted_tokens_per_s=None,
    )


def write_artifact(folder: Path, content: bytes = b"GGUF and the rest") -> Artifact:
    """Write an artifact whose one file has this content."""
    folder.mkdir(parents=True)
    (folder / MODEL_GGUF).write_bytes(content)
    entry = FileEntry(MODEL_GGUF, len(content), hashlib.sha256(content).hexdigest())
    source = Source("made-up", "llama", (FileEntry("config.json", 2, "0" * 64),))
    plan = make_plan((TensorChoice("model.norm.weight", "f32", 64),))
    artifact = Artifact(folder, plan, (entry,), source, {"edgellm": "0"})
    artifact.write_manifest(folder)
    return artifact

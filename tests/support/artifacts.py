"""Artifact folders with any content, without a conversion."""

import hashlib
from pathlib import Path

from edgellm.artifact import MODEL_GGUF, Artifact, FileEntry, Source
from edgellm.plan import TensorChoice
from tests.support.plans import make_plan


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

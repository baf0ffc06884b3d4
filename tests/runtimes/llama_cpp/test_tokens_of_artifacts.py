"""Token ids and text of converted models, against the checkpoint's own library."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, normalizers

from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions
from tests.support.awkward_text import awkward_lines
from tests.support.checkpoints import write_checkpoint
from tests.support.conversions import convert_folder
from tests.support.tokenizers import (
    IDENTITY,
    train_byte_level_bpe,
    train_sentencepiece,
    write_piece_bpe,
)

PIECES = decoders.Sequence(
    [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
)
LINES = awkward_lines(300, seed=5)


def qwen2(folder: Path) -> None:
    train_byte_level_bpe(folder, "qwen2", normalizer=normalizers.NFC())


def llama3(folder: Path) -> None:
    train_byte_level_bpe(folder, "llama3")


def pieces(scheme: str, step: int = 1) -> Callable[[Path], None]:
    """Byte-fallback BPE; a step above 1 leaves only some merges, so that ranks decide."""

    def make(folder: Path) -> None:
        model = train_sentencepiece(folder / "sp", **IDENTITY)
        write_piece_bpe(
            folder,
            model,
            scheme=scheme,
            edit=lambda merges: [pair for i, pair in enumerate(merges) if step == 1 or i % step],
        )

    return make


MAKERS = {
    "qwen2": qwen2,
    "llama3": llama3,
    "pieces, prefixed": pieces("prepend"),
    "pieces, first only": pieces("first"),
    "pieces by rank": pieces("always", step=7),
}


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_artifact_tokenizes_and_spells_as_the_library_does(
    name: str, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    MAKERS[name](source)
    write_checkpoint(source, vocab_size=4096)
    artifact = convert_folder(source, tmp_path / "out")
    reference = Tokenizer.from_file(str(source / "tokenizer.json"))
    reference.decoder = decoders.ByteLevel() if name in ("qwen2", "llama3") else PIECES
    options = LoadOptions(context=256, threads=1)
    with LlamaCppRuntime().load(artifact.gguf, options) as model:
        vocabulary = model._vocabulary
        for line in LINES:
            expected = reference.encode(line, add_special_tokens=False).ids
            ids = vocabulary.tokenize(line, parse_special=True)
            assert ids == expected, ascii(line)
            spelled = b"".join(vocabulary.piece(token, special=True) for token in ids)
            assert spelled.decode() == reference.decode(ids, skip_special_tokens=False)

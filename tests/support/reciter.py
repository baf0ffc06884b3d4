"""Made-up models that recite: random layers between an embedding and a head that knows by heart
which word follows which. What they say is known in advance, whatever they weigh.
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgellm.tokenizer.sentencepiece_model import read_sentencepiece
from tests.support.checkpoints import BUNDLED, random_tensors, write_checkpoint, write_weights

_SPACE = "\u2581"
_WHISPER = 0.02  # of what a layer would add, so that the word before stays the loudest


@dataclass(frozen=True, slots=True)
class Score:
    """Words that follow each other in two circles, by token id."""

    refrain: tuple[str, ...]  # said again and again
    story: tuple[str, ...]  # so long that nothing in an answer is said twice
    order: dict[int, int]  # by token: the one after it

    def edited_refrain(self, every: int) -> str:
        """The refrain, with one word in so many replaced by one of the story's."""
        words = list(self.refrain)
        for place in range(every // 2, len(words) - 1, every):
            words[place] = self.story[-1 - place]
        return " ".join(words)


def compose(refrain: int, story: int, seed: int = 0) -> Score:
    """Circles of so many words, each of which is one token wherever it stands."""
    pieces = read_sentencepiece(BUNDLED / "tokenizer.model").pieces
    ids = {
        piece.text[1:]: token
        for token, piece in enumerate(pieces)
        if piece.text.startswith(_SPACE) and piece.text[1:].isalpha() and len(piece.text) > 3
    }
    words = random.Random(seed).sample(sorted(ids), refrain + story)
    circles = tuple(words[:refrain]), tuple(words[refrain:])
    order = {
        ids[word]: ids[following]
        for circle in circles
        for word, following in zip(circle, (*circle[1:], circle[0]), strict=True)
    }
    return Score(*circles, order)


def write_reciter(folder: Path, score: Score, **config: object) -> Path:
    """A checkpoint with the bundled tokenizer that goes on as the score has it."""
    config = {"tie_word_embeddings": False, **config}
    write_checkpoint(folder, tokenizer=True, **config)  # type: ignore[arg-type]
    written = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    arrays = dict(random_tensors("llama", written, seed=0))
    loudness = np.float32(written["hidden_size"] ** 0.5)
    embedding = np.multiply(arrays["model.embed_tokens.weight"], loudness, dtype=np.float32)
    for name, array in arrays.items():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            np.multiply(array, _WHISPER, out=array)
    head = np.zeros_like(embedding)
    head[list(score.order.values())] = embedding[list(score.order)]
    arrays["model.embed_tokens.weight"] = embedding
    arrays["lm_head.weight"] = np.divide(head, loudness, out=head)
    write_weights(folder, arrays)
    return folder

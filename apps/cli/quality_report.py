"""What `edgellm eval` found, as JSON and for people."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgellm.evaluation import PositionRange, Quality
from edgellm.runtimes.options import ScoringOptions
from edgellm.units import format_bytes


@dataclass(frozen=True, slots=True)
class Saved:
    """A reference's predictions, written to a file."""

    path: Path
    bytes: int
    tokens: int  # scored
    perplexity: float  # of the reference

    def to_json(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "bytes_per_token": self.bytes / self.tokens,
        }

    def line(self) -> str:
        return (
            f"saved {self.tokens} predictions in {self.path}: {format_bytes(self.bytes)}, "
            f"{self.bytes / self.tokens:.0f} bytes each"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out; there is no quality without a model to judge, and nothing saved unasked."""

    quality: Quality | None
    by_position: tuple[PositionRange, ...]
    saved: Saved | None


@dataclass(frozen=True, slots=True)
class Report:
    """What was compared, as the user named it, and what came out."""

    model: str | None
    reference: str
    text: str
    scoring: ScoringOptions
    outcome: Outcome

    def to_json(self) -> dict[str, Any]:
        """The documented keys; of a reference that was only saved, those that it has."""
        found, saved = self.outcome, self.outcome.saved
        compared = {
            "reference": self.reference,
            "text": self.text,
            "window": self.scoring.window,
            "score_from": self.scoring.first,
        }
        files = {} if saved is None else {"saved": saved.to_json()}
        if found.quality is None:
            assert saved is not None
            figures = {"reference_perplexity": saved.perplexity, "tokens": saved.tokens}
            return {**compared, **figures, **files}
        return {
            "model": self.model,
            **compared,
            "key_format": self.scoring.key_format,
            "value_format": self.scoring.value_format,
            **found.quality.to_json(),
            "by_position": [asdict(part) for part in found.by_position],
            **files,
        }

    def lines(self) -> Iterator[str]:
        """For people."""
        if self.outcome.quality is not None:
            yield from self._comparison(self.outcome.quality)
        if self.outcome.saved is not None:
            yield self.outcome.saved.line()

    def _comparison(self, quality: Quality) -> Iterator[str]:
        divergence, ratio, scoring = (
            quality.kl_divergence,
            quality.log_perplexity_ratio,
            self.scoring,
        )
        cache = f"KV cache {scoring.key_format}/{scoring.value_format}"
        yield f"{quality.tokens} tokens scored in windows of {scoring.window}, {cache}"
        yield f"  KL divergence   {divergence.mean:.4g} ± {divergence.standard_error:.2g} nats"
        yield (
            f"                  median {divergence.median:.4g}, 99 % {divergence.p99:.4g}, "
            f"99.9 % {divergence.p99_9:.4g}"
        )
        yield from map(_position_line, self.outcome.by_position)
        yield f"  same top token  {100 * quality.same_top_token:.2f} %"
        perplexity = f"{quality.perplexity:.4f}, reference {quality.reference_perplexity:.4f}"
        yield f"  perplexity      {perplexity}"
        yield f"                  log ratio {ratio.mean:.4g} ± {ratio.standard_error:.2g}"


def _position_line(part: PositionRange) -> str:
    mean = f"{part.kl_divergence.mean:.4g} ± {part.kl_divergence.standard_error:.2g}"
    return f"                  at {part.first} to {part.last}: {mean}"

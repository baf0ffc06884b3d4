"""`edgellm eval` beside `llama-perplexity --kl-divergence`, on the same files and text.

    python -m benchmarks.quality.llama_perplexity LLAMA_PERPLEXITY TEXT

LLAMA_PERPLEXITY: the program, built from the llama.cpp of the llama-cpp-python installed; another
build rounds differently. Its base file holds log-probabilities in 16 bits, which its figures show.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.report import write_result
from edgellm.apps.cli.quality import Text, compare
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.evaluation import Quality, first_scored
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.runtimes.options import ScoringOptions

WINDOW = 512
FORMATS = ("q8_0", "q4_K", "q2_K")
PATTERNS = {
    "perplexity": r"Mean PPL\(Q\) +: +([\d.]+)",
    "reference_perplexity": r"Mean PPL\(base\) +: +([\d.]+)",
    "log_perplexity_ratio": r"Mean ln\(PPL\(Q\)/PPL\(base\)\) +: +(-?[\d.]+)",
    "kl_divergence_mean": r"Mean +KLD: +([\d.]+)",
    "kl_divergence_standard_error": r"Mean +KLD: +[\d.]+ ± +([\d.]+)",
    "kl_divergence_median": r"Median +KLD: +([\d.]+)",
    "kl_divergence_p99": r"99\.0% +KLD: +([\d.]+)",
    "kl_divergence_p99_9": r"99\.9% +KLD: +([\d.]+)",
    "same_top_token": r"Same top p: +([\d.]+)",  # per cent
}


def make(folder: Path, format_name: str, scratch: Path) -> Path:
    checkpoint, tables = open_checkpoint(folder), load_tables()
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, format_name, Budget(WINDOW), tables)
    return convert(checkpoint, spec, plan, scratch / format_name, tables=tables).gguf


def theirs(program: Path, model: Path, base: Path, text: Path) -> dict[str, float]:
    """Figures of llama-perplexity."""
    words = ["-f", str(text), "-c", str(WINDOW), "-t", "1", "--kl-divergence-base", str(base)]
    command = [str(program), "-m", str(model), *words, "--kl-divergence"]
    shown = subprocess.run(command, capture_output=True, check=True)
    output = shown.stdout.decode() + shown.stderr.decode()
    found = {name: re.search(pattern, output) for name, pattern in PATTERNS.items()}
    figures = {name: float(match[1]) for name, match in found.items() if match}
    if absent := PATTERNS.keys() - figures.keys():
        raise RuntimeError(f"{program.name} does not say {sorted(absent)}: {output[-500:]}")
    return figures | {"same_top_token": figures["same_top_token"] / 100}


def write_base(program: Path, reference: Path, base: Path, text: Path) -> None:
    words = ["-f", str(text), "-c", str(WINDOW), "-t", "1", "--kl-divergence-base", str(base)]
    subprocess.run([str(program), "-m", str(reference), *words], capture_output=True, check=True)


def ours(model: Path, reference: Path, text: Path) -> dict[str, float]:
    """The same figures of edgellm."""
    content = Text(text.name, text.read_text(encoding="utf-8"))
    scoring = ScoringOptions(WINDOW, first_scored(WINDOW), threads=1)
    found = compare(model, reference, scoring, content, None, text.parent).quality
    assert isinstance(found, Quality)
    divergence = found.kl_divergence
    return {
        "perplexity": found.perplexity,
        "reference_perplexity": found.reference_perplexity,
        "log_perplexity_ratio": found.log_perplexity_ratio.mean,
        "kl_divergence_mean": divergence.mean,
        "kl_divergence_standard_error": divergence.standard_error,
        "kl_divergence_median": divergence.median,
        "kl_divergence_p99": divergence.p99,
        "kl_divergence_p99_9": divergence.p99_9,
        "same_top_token": found.same_top_token,
        "tokens": found.tokens,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--checkpoint", type=Path, default=bundled_checkpoint())
    parser.add_argument("--text-bytes", type=int, default=60_000)
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text, base = folder / options.text.name, folder / "base"
        whole = options.text.read_bytes()[: options.text_bytes]
        text.write_text(whole.decode("utf-8", "ignore"), encoding="utf-8")
        reference = make(options.checkpoint, "f16", folder)
        write_base(options.program, reference, base, text)
        for name in FORMATS:
            model = make(options.checkpoint, name, folder)
            found, given = ours(model, reference, text), theirs(options.program, model, base, text)
            rows[name] = {"edgellm": found, "llama_perplexity": given}
            for figure, value in given.items():
                print(f"{name} {figure:30} {found[figure]:.6f} {value:.6f}")
    figures = {"model": options.checkpoint.name, "text": options.text.name, "formats": rows}
    write_result("llama_perplexity", {**figures, "window": WINDOW})


if __name__ == "__main__":
    main()

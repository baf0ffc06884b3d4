"""`plan --explain` and `plan --curve`: in words, in characters, as JSON and as a picture."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgellm.apps.cli import curve_picture
from edgellm.apps.cli.curve_drawing import HEIGHT, drawing_lines, log_ticks
from edgellm.apps.cli.curve_report import CurveReport
from edgellm.apps.cli.explaining import explanation_lines
from edgellm.apps.cli.plan_views import Views
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.planner.explain import explain
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import StaticSensitivity
from edgellm.sensitivity.noise import NoiseSensitivity
from tests.apps.conftest import Cli
from tests.support.calibrations import made_up_calibration, made_up_errors
from tests.support.specs import make_spec

TABLES = load_tables()
SPEC = make_spec(layers=8, hidden=512, ffn=1024, vocab=2048)
MIB = 2**20
TIGHT = ("--memory", "50MiB", "--context", "256")


@pytest.fixture(scope="module")
def report() -> CurveReport:
    spec = make_spec()
    plan = make_plan(spec, Budget(512, memory_bytes=50_600_000), TABLES)
    return CurveReport.of(spec, plan, TABLES, StaticSensitivity(spec, TABLES))


def explanation_of_noise() -> Iterator[str]:
    """The longest kind of explanation: every tensor differs."""
    judge = NoiseSensitivity(SPEC, TABLES, made_up_calibration(SPEC), made_up_errors(SPEC, TABLES))
    budget = Budget(512, memory_bytes=60 * MIB)
    plan = make_plan(SPEC, budget, TABLES, sensitivity=judge)
    return explanation_lines(SPEC, explain(SPEC, plan, budget, TABLES, judge))


def test_an_explanation_begins_with_words_and_fits_80_columns() -> None:
    lines = list(explanation_of_noise())
    assert max(map(len, lines)) <= 79
    words = " ".join(lines[: lines.index("")])
    for phrase in ("Costliest roles", "exchange rate", "tokens at once"):
        assert phrase in words


def test_explain_joins_the_json_and_changes_nothing_else(cli: Cli, checkpoint: Path) -> None:
    plain = cli("plan", checkpoint, *TIGHT, "--json").json
    explained = cli("plan", checkpoint, *TIGHT, "--json", "--explain").json
    explain = explained.pop("explain")
    assert explained == plain
    assert explain["kl_divergence"] == pytest.approx(plain["predicted"]["kl_divergence"])
    matrices = {row["name"] for row in plain["weights"]["tensors"] if row["format"] != "f32"}
    assert {row["name"] for row in explain["tensors"]} == matrices
    assert explain["ubatch"]["ubatch"] == plain["ubatch"]


def test_an_explanation_names_the_role_that_costs_most_first(cli: Cli, checkpoint: Path) -> None:
    document = cli("plan", checkpoint, *TIGHT, "--json", "--explain").json["explain"]
    text = cli("plan", checkpoint, *TIGHT, "--explain").out
    table = text[text.index("nats/MiB") :].splitlines()[1:]
    costs = [float(line.split()[-4]) for line in table if not line.startswith("    ")]
    assert costs == sorted(costs, reverse=True)
    assert sum(costs) == pytest.approx(document["kl_divergence"], rel=0.01)


def test_curve_joins_the_json_and_its_file_says_the_same(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "curve.json"
    document = cli("plan", checkpoint, *TIGHT, "--json", "--curve", "--curve-file", path).json
    sizes = {"budget_bytes", "total_bytes", "weights_bytes"}
    keys = sizes | {"bits_per_weight", "kl_divergence", "key_format", "value_format"}
    assert document["fits"] is True
    assert all(point.keys() == keys for point in document["curve"])
    assert document["uniform"].keys() == {"q2_K", "q3_K", "q4_K", "q6_K", "q8_0"}
    saved = json.loads(path.read_text())
    assert (saved["curve"], saved["uniform"]) == (document["curve"], document["uniform"])
    assert saved["plan"]["total_bytes"] == document["memory"]["total_bytes"]


def test_a_curve_for_a_pipe_is_a_plain_table_of_every_point(report: CurveReport) -> None:
    views = Views(None, report)
    table = [line for line in views.lines(SPEC) if line]
    assert all(line.isascii() and len(line) <= 79 for line in table)
    assert len(table) == 1 + len(report.points) + len(report.uniform) + 1
    assert sum(line.endswith("your plan") for line in table) == 1


def test_a_drawn_curve_fits_a_terminal_and_shows_every_mark(report: CurveReport) -> None:
    lines = list(drawing_lines(report))
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 79
    field = "\n".join(lines[1 : HEIGHT + 1])
    assert field.count("○") == 5
    assert field.count("◆") == 1
    assert all(f" {name}" in field for name in report.uniform)


def test_a_drawn_curve_falls_from_left_to_right(report: CurveReport) -> None:
    rows = list(drawing_lines(report))[1 : HEIGHT + 1]
    columns = [
        column for row in rows for column in sorted(i for i, c in enumerate(row) if c == "●")
    ]
    assert len(columns) > 10
    assert columns == sorted(columns)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(-2.1, 0.1, [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]), (-4, -1, [1e-4, 1e-3, 1e-2, 1e-1])],
)
def test_ticks_are_round_and_few(low: float, high: float, ticks: list[float]) -> None:
    assert log_ticks(low, high) == pytest.approx(ticks)


def test_a_png_is_a_picture(report: CurveReport) -> None:
    pytest.importorskip("matplotlib")
    image = pytest.importorskip("PIL.Image")
    with image.open(io.BytesIO(curve_picture.picture(report, "png"))) as opened:
        assert opened.format == "PNG"
        colours = opened.convert("RGB").getcolors(1 << 24)
    assert {(0x1A, 0x66, 0xB0), (0xC8, 0x40, 0x1A)} <= {colour for _, colour in colours}


def test_an_svg_is_xml_and_always_the_same(report: CurveReport) -> None:
    pytest.importorskip("matplotlib")
    svg = curve_picture.picture(report, "svg")
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == curve_picture.picture(report, "svg")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--curve", "--format", "q4_K"), "drop --format"),
        (("--curve-file", "x.json", "--format", "q4_K"), "drop --format"),
        (("--explain", "--format", "q4_K"), "drop --explain"),
        (("--curve-file", "curve.pdf"), ".json, .png, .svg"),
        (("--curve-file", "curve"), ".json, .png, .svg"),
    ],
)
def test_views_that_cannot_be_are_refused(
    words: tuple[str, ...], complaint: str, cli: Cli, checkpoint: Path
) -> None:
    refused = cli("plan", checkpoint, *TIGHT, *words)
    assert (refused.code, refused.out) == (2, "")
    assert complaint in refused.err


def test_a_picture_without_its_library_is_refused_by_name(
    cli: Cli, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curve_picture, "find_spec", lambda name: None)
    refused = cli("plan", checkpoint, *TIGHT, "--curve-file", "curve.svg")
    assert (refused.code, "edgellm[plots]" in refused.err) == (2, True)


def test_a_curve_file_that_cannot_be_written_is_one_line(
    cli: Cli, checkpoint: Path, tmp_path: Path
) -> None:
    path = tmp_path / "none" / "curve.json"
    refused = cli("plan", checkpoint, *TIGHT, "--curve-file", path)
    assert (refused.code, refused.err.count("\n")) == (4, 1)
    assert not path.parent.exists()

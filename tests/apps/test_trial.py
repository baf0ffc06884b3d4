"""Measured plans beside static ones of equal bytes."""

from dataclasses import replace

import pytest

from edgellm.apps.cli import trial
from edgellm.apps.cli.measuring import Measurement, measure
from edgellm.apps.cli.trial import Contest
from edgellm.checkpoint import open_checkpoint
from edgellm.families import read_spec
from edgellm.formats import WeightFormat
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import StaticSensitivity
from edgellm.spec import Role, TensorSpec
from edgellm.store import Store
from tests.support.checkpoints import write_checkpoint
from tests.support.speeds import BYTES_TAKE_TIME
from tests.support.texts import SHORT_TEXT

TABLES = load_tables()
BUDGET = Budget(256, target_bpw=5.0)


class Misjudgement(StaticSensitivity):
    """Takes K for all that counts, and coarse for fine elsewhere."""

    def cost(self, tensor: TensorSpec, weight_format: WeightFormat) -> float:
        if tensor.role is Role.ATTN_K:
            return 1e3 * weight_format.relative_rmse
        return 1 - weight_format.relative_rmse


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Contest:
    folder = tmp_path_factory.mktemp("contest")
    opened = open_checkpoint(write_checkpoint(folder / "tiny", tokenizer=True))
    store = Store(folder / "home")
    spec = read_spec(opened)
    text = folder / "text.txt"
    text.write_text(SHORT_TEXT, encoding="utf-8")
    measured = measure("noise", opened, spec, TABLES, store, context=256, text_file=text, threads=1)
    return Contest(opened, spec, TABLES, measured, store, threads=1)


def planned(contest: Contest) -> Plan:
    return make_plan(contest.spec, BUDGET, TABLES, sensitivity=contest.measured.sensitivity)


def misled(contest: Contest) -> Contest:
    wrong = Misjudgement(contest.spec, TABLES, has_imatrix=True)
    measured = contest.measured
    return replace(
        contest,
        measured=Measurement(measured.calibration, wrong, measured.reference, measured.text),
    )


def test_the_better_plan_is_taken_and_both_figures_are_kept(contest: Contest) -> None:
    plan = planned(contest)
    better = contest.better(plan, BUDGET)
    assert better.trial is not None
    assert better.trial.kl_divergence > 0
    assert better.trial.static_kl_divergence > 0
    assert better.trial.static_won == (better.tensors != plan.tensors)
    assert Plan.from_json(better.to_json(), "plan") == better


def test_a_static_plan_wins_against_a_bad_judge(contest: Contest) -> None:
    against = misled(contest)
    plan = planned(against)
    rival = against.rival(plan, BUDGET)
    better = against.better(plan, BUDGET)
    assert better.trial is not None
    assert better.trial.static_won
    assert rival is not None
    assert better.tensors == rival.tensors
    assert better.memory.weights_bytes <= plan.memory.weights_bytes


def test_a_rival_takes_no_more_bytes_and_the_same_cache(contest: Contest) -> None:
    plan = planned(contest)
    rival = contest.rival(plan, BUDGET)
    assert rival is not None
    assert rival.memory.weights_bytes <= plan.memory.weights_bytes
    assert rival.kv == plan.kv
    assert rival == settle_plan(
        contest.spec, rival, TABLES, "rival", sensitivity=contest.measured.sensitivity
    )


def test_the_same_plans_are_tried_once(contest: Contest, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned(contest)
    first = contest.better(plan, BUDGET)
    monkeypatch.delattr(trial, "try_files")
    assert contest.better(plan, BUDGET) == first
    assert not [path for path in (contest.store.cache / "trials").iterdir() if path.is_dir()]


def test_a_rival_keeps_the_pace_of_a_hurried_plan(contest: Contest) -> None:
    hurried = replace(BUDGET, preference="speed")
    timed = replace(contest, speed=BYTES_TAKE_TIME)
    judge = contest.measured.sensitivity
    plan = make_plan(contest.spec, hurried, TABLES, sensitivity=judge, speed=BYTES_TAKE_TIME)
    rival = timed.rival(plan, hurried)
    assert rival is not None
    assert plan.predicted_tokens_per_s is not None
    assert rival.predicted_tokens_per_s is not None
    assert rival.predicted_tokens_per_s >= 0.999 * plan.predicted_tokens_per_s

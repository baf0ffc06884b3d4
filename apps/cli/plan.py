"""`edgellm plan`: the best plan that fits, or what is missing."""

import shlex

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.cli.planning import PlanningOptions, chosen_mode
from edgellm.apps.cli.settings import home
from edgellm.errors import BudgetError


def command(
    context_of_call: typer.Context,
    ckpt: cli.CheckpointArgument,
    memory: cli.Memory = None,
    context: cli.Context = None,
    weights_memory: cli.WeightsMemory = None,
    target_bpw: cli.TargetBpw = None,
    format: cli.Format = None,
    min_speed: cli.MinSpeed = None,
    prefer: cli.Prefer = None,
    sensitivity: cli.SensitivityMode = None,
    calibration: cli.CalibrationText = None,
    imatrix: cli.Imatrix = None,
    save_imatrix: cli.SaveImatrix = None,
    threads: cli.Threads = None,
    output: cli.OutFile = None,
    explain: cli.Explain = False,
    curve: cli.Curve = False,
    curve_file: cli.CurveFile = None,
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Plan a conversion: a format for every tensor and the KV cache, within a memory budget."""
    from edgellm.apps.cli.deciding import Request, decide
    from edgellm.apps.cli.models import open_reference
    from edgellm.apps.cli.plan_views import AskedViews
    from edgellm.apps.cli.tables import format_lines, plan_lines
    from edgellm.apps.refusals import refusal
    from edgellm.families import read_spec
    from edgellm.files import write_json
    from edgellm.quant_tables import load_tables
    from edgellm.store import Store

    options = PlanningOptions(
        memory, context, weights_memory, target_bpw, format, min_speed, prefer
    )
    is_typed = bool(cli.typed(context_of_call, ["sensitivity"]))
    request = Request(
        options,
        chosen_mode(sensitivity, options, calibration, is_typed=is_typed),
        calibration,
        threads=threads,
        imatrix=imatrix,
        save_imatrix=save_imatrix,
    )
    asked = AskedViews(explain, curve, curve_file)
    asked.check(format)
    request.check()
    checkpoint = open_reference(ckpt, offline=offline)
    spec, tables = read_spec(checkpoint), load_tables()
    try:
        decision = decide(request, checkpoint, spec, tables, Store(home()))
    except BudgetError as error:
        if json:
            print_json(refusal(error))
        raise
    plan, views = decision.plan, asked.made(request, decision, spec, tables)
    if output is not None:
        write_json(output, plan.to_json())
        again = [] if calibration is None else ["--calibration", str(calibration)]
        words = shlex.join(["edgellm", "convert", ckpt, "--plan", str(output), *again])
        note(f"plan saved to {output}; use it with: {words}")
    if curve_file is not None:
        note(f"curve saved to {curve_file}")
    if json:
        print_json({**plan.to_json(), **views.to_json()})
        return
    print(f"{spec.name}: {spec.parameters:,} parameters, {spec.family} family")
    for line in (*plan_lines(plan), "", *format_lines(spec, plan.tensors), *views.lines(spec)):
        print(line)

"""`edgellm inspect`: what a checkpoint is."""

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json


def command(
    ckpt: cli.CheckpointArgument, offline: cli.Offline = False, json: cli.Json = False
) -> None:
    """Show what a checkpoint is: family, size, tensors, tokenizer, what it can become."""
    from edgellm.apps.cli.checkpoint_report import CheckpointReport
    from edgellm.apps.cli.models import open_reference

    report = CheckpointReport.of(open_reference(ckpt, offline=offline))
    if json:
        print_json(report.to_json())
        return
    for line in report.lines():
        print(line)

"""Which tokens a `tokenizer.json` puts around every text."""

from edgellm.checkpoint import Fields
from edgellm.errors import FormatError, UnsupportedError
from edgellm.tokenizer.tokenizer_json import Component, TokenizerJson


def added_ends(tokenizer: TokenizerJson) -> tuple[int | None, int | None] | None:
    """The ids put before and after a text; None when the file does not say.

    Raises UnsupportedError where that is more than one token on a side.
    """
    steps = [step for step in tokenizer.post_processors if step.kind != "ByteLevel"]
    if not steps:
        return None
    if len(steps) > 1 or steps[0].kind != "TemplateProcessing":
        kinds = ", ".join(step.kind for step in steps)
        raise UnsupportedError(
            f"{tokenizer.path}: post-processor {kinds}", ("ByteLevel", "TemplateProcessing")
        )
    return _ends(steps[0])


def _ends(template: Component) -> tuple[int | None, int | None]:
    settings = template.settings
    written = settings.values.get("single")
    before: list[int] = []
    after: list[int] = []
    side = before
    for item in written if isinstance(written, list) else []:
        entry = Fields(settings.path, item if isinstance(item, dict) else {}, settings.prefix)
        if entry.has("Sequence"):
            side = after
        else:
            side += _special_ids(settings, entry)
    if side is before or max(len(before), len(after)) > 1:
        raise UnsupportedError(
            f"{settings.path}: post_processor template {written}",
            ("one token before and one after the text",),
        )
    return next(iter(before), None), next(iter(after), None)


def _special_ids(settings: Fields, entry: Fields) -> tuple[int, ...]:
    token = entry.section("SpecialToken")
    name = token.text("id") if token else None
    tokens = settings.section("special_tokens")
    listed = tokens.section(name) if tokens and name else None
    if listed is None:
        raise FormatError(settings.path, f"{settings.prefix}single names a token it does not list")
    return listed.integers("ids")

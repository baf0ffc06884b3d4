"""Choosing a model: what is stored, what was used lately, and whether it fits this machine."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.widgets import Input, OptionList, Static

from edgellm.apps.chat.answering.engine import Engine
from edgellm.apps.chat.choosing.offers import Offer, list_offers, offer_of, stored_offer
from edgellm.apps.chat.choosing.references import check_reference, reference_of
from edgellm.apps.chat.choosing.verdicts import Fit, Verdict, allowed_memory, given_back, judge
from edgellm.apps.chat.dialogs.model_rows import Layout, Row, names_of
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.writing import LineDialog
from edgellm.apps.chat.widgets import figures
from edgellm.apps.chat.working import begin
from edgellm.apps.free_memory import FreeMemory, look_at_memory
from edgellm.apps.terminal_text import one_line
from edgellm.store import Store

CONVERT: Final = "\0convert"  # no reference: a path has no such character
_OTHER: Final = "\0other"
LOOK_S = 2.0  # between two looks at the memory
_ACTIONS = (
    Choice(_OTHER, Text("  Another file, folder or name on the Hub …"), is_fixed=True),
    Choice(CONVERT, Text("  Convert a checkpoint …"), is_fixed=True),
)


class ModelDialog(Picker[str]):
    """Answers with what to load, or CONVERT. What does not fit is taken after a question only."""

    DEFAULT_CSS = """
    ModelDialog > Vertical {
        & > .heading { color: $text-muted; height: 1; margin-top: 1; }
        & > OptionList { margin-top: 0; max-height: 45vh; }
        & > .problem { color: $text-error; height: auto; display: none; }
    }
    """
    KEYS: ClassVar[str] = "Type to narrow · ↑↓ choose · Enter loads it · Esc leaves"

    def __init__(self, engine: Engine, store: Store, recent: Sequence[str] = ()) -> None:
        """recent: what was used lately and is not in the store."""
        super().__init__("Choose a model", _ACTIONS)
        self._engine = engine
        self._store = store
        self._recent = recent
        self._offers: dict[str, Offer] = {}  # by reference
        self._memory: FreeMemory | None = None

    def compose_body(self) -> ComposeResult:
        yield Static("looking at the store and the memory …", classes="note")
        yield Input(placeholder="search", id="search", compact=True)
        yield Static(classes="heading")
        yield OptionList(id="rows")
        yield Static(classes="problem")

    def on_mount(self) -> None:  # beside Picker's, which Textual calls as well
        begin(self, self._look, group="look")

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._show, self.pointed)

    def on_input_changed(self) -> None:  # beside Picker's
        self._show_problem("")

    async def _look(self) -> None:
        settings = self._engine.settings
        offers = await asyncio.to_thread(list_offers, self._store, self._recent, settings)
        self._offers = {offer.reference: offer for offer in offers}
        await self._look_at_memory()
        loaded = [offer.reference for offer in offers if self._is_loaded(offer)]
        self._show(next(iter([*loaded, *self._offers]), None))
        self.set_interval(LOOK_S, self._look_again)

    async def _look_again(self) -> None:
        await self._look_at_memory()
        self._show(self.pointed)

    async def _look_at_memory(self) -> None:
        returned_bytes = given_back(self._engine.memory, self._engine.settings)
        self._memory = await asyncio.to_thread(look_at_memory, returned_bytes)

    def _is_loaded(self, offer: Offer) -> bool:
        if offer.path is None or not self._engine.is_ready:
            return False
        return offer.path.absolute() == Path(self._engine.model.path).absolute()

    # What is shown

    def _show(self, pointed: str | None) -> None:
        if self._memory is None or not self.is_mounted:
            return
        rows = self.query_one(OptionList)
        offers = list(self._offers.values())
        layout = Layout.of(rows.scrollable_content_region.width, names_of(offers))
        self.query_one(".heading", Static).update(layout.heading())
        self.query_one(".note", Static).update(self._usable(self._memory))
        shown = [
            Choice(offer.reference, layout.line(self._row(offer)), f"{offer.name} {offer.about}")
            for offer in offers
        ]
        self.show_choices([*shown, *_ACTIONS], pointed)

    def _row(self, offer: Offer) -> Row:
        return Row(offer, self._judge(offer), self._is_loaded(offer))

    def _judge(self, offer: Offer) -> Verdict:
        assert self._memory is not None, "shown once it was looked at"
        return judge(offer, self._memory, self._engine.settings)

    def _usable(self, memory: FreeMemory) -> Text:
        allowed_bytes = allowed_memory(self._engine.settings)
        allowed = "" if allowed_bytes is None else f"{figures.memory(allowed_bytes)} by --memory; "
        usable = figures.memory(memory.usable_bytes)
        return Text(f"{allowed}{usable} for a model: {self._sum(memory)}")

    def _sum(self, memory: FreeMemory) -> str:
        """Where that number comes from."""
        parts = [f"{figures.memory(memory.free_bytes)} free now"]
        if memory.returned_bytes:
            name = one_line(self._engine.name)
            parts.append(f"+ {figures.memory(memory.returned_bytes)} that {name} gives back")
        kept = figures.memory(memory.available_bytes - memory.usable_bytes)
        return " ".join([*parts, f"- {kept} kept in reserve"])

    # What is chosen

    def take(self, value: str) -> None:
        if value == CONVERT:
            self.dismiss(CONVERT)
        elif value == _OTHER:
            begin(self, self._take_other, group="take", exclusive=True)
        elif self._memory is not None:
            begin(self, self._take, self._offers[value], group="take", exclusive=True)

    async def _take_other(self) -> None:
        """Let a reference be typed; what was searched for in vain is a beginning."""
        typed = await self.app.push_screen_wait(
            LineDialog(
                "Which model?",
                "" if len(self._shown) > len(_ACTIONS) else self.typed,
                note="A GGUF file, a converted model's folder, a checkpoint's folder, or a name on "
                "the Hub. Checkpoints are converted to fit, and kept.",
                placeholder="path, or org/name",
                check=lambda text: check_reference(text, self._store),
            )
        )
        if typed is None:
            return
        if self._memory is None:
            await self._look_at_memory()
        reference = reference_of(typed)
        if self._store.has(reference):
            await self._take(await asyncio.to_thread(stored_offer, self._store, reference))
        else:
            await self._take(await asyncio.to_thread(offer_of, reference, self._engine.settings))

    async def _take(self, offer: Offer) -> None:
        verdict = self._judge(offer)
        if problem := offer.problem or verdict.reason:
            self._show_problem(problem)
            return
        if self._is_loaded(offer):
            self.dismiss(None)
        elif verdict.fit is not Fit.SHORT or await self._is_taken_all_the_same(offer, verdict):
            self.dismiss(offer.reference)

    def _show_problem(self, text: str) -> None:
        shown = self.query_one(".problem", Static)
        shown.update(Text(one_line(text)))
        shown.display = bool(text)
        self.query_one(".note").display = not text  # there may be no room for both

    async def _is_taken_all_the_same(self, offer: Offer, verdict: Verdict) -> bool:
        assert self._memory is not None, "judged by it"
        needed = figures.memory(offer.needed_bytes or offer.file_bytes or 0)
        least = "at least " if verdict.is_least else ""
        note = (
            f"{one_line(offer.name)} needs {least}{needed}, {figures.memory(verdict.short_bytes)} "
            f"more than the {self._usable(self._memory).plain}. The machine may become slow, or "
            "end it."
        )
        choices = [
            Choice(False, Text("No, choose another")),
            Choice(True, Text("Load it all the same")),
        ]
        asked = Picker("It does not fit", choices, note=note, has_search=False)
        answer = await self.app.push_screen_wait(asked)
        return answer is True

"""Searching all conversations while one types."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Input, OptionList
from textual.widgets.option_list import Option

from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.records import Hit
from edgellm.apps.chat.conversations.search import search
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.working import begin
from edgellm.apps.terminal_text import harmless, one_line
from edgellm.errors import EdgeLLMError

PAUSE_S = 0.15  # after a key before it is searched
_MOST = 100


class SearchDialog(Dialog[Hit]):
    """Words of which each must be in a turn; answers with the turn that was chosen."""

    DEFAULT_CSS = """
    SearchDialog > Vertical {
        & > Input { border: none; height: 1; padding: 0; background: $surface; }
        & > OptionList {
            height: auto; max-height: 60vh; min-height: 1; border: none; padding: 0;
            background: $surface; margin-top: 1;
        }
        & > OptionList:focus { border: none; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down", "step(1)", "Down", show=False, priority=True, id="search.down"),
        Binding("up", "step(-1)", "Up", show=False, priority=True, id="search.up"),
    ]
    KEYS: ClassVar[str] = "↑↓ choose · Enter goes there · Esc leaves"

    def __init__(self, archive: Archive, words: str = "") -> None:
        super().__init__("Search all conversations")
        self._archive = archive
        self._words = words
        self._searched: str | None = None  # the words that what is shown has
        self._hits: list[Hit] = []

    def compose_body(self) -> ComposeResult:
        yield Input(self._words, placeholder="words, each of which must be there", compact=True)
        yield OptionList()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        self._search_soon(self._words)

    def on_input_changed(self, event: Input.Changed) -> None:
        self._search_soon(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        begin(self, self._take, event.value, group="search", exclusive=True)

    async def _take(self, words: str) -> None:
        """The hit that is chosen, of the words as they are now."""
        if words != self._searched:
            await self._search(words, 0)
        index = self.query_one(OptionList).highlighted
        if index is not None and index < len(self._hits):
            self.dismiss(self._hits[index])

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._hits[event.option_index])

    def action_step(self, step: int) -> None:
        rows = self.query_one(OptionList)
        if self._hits:
            rows.highlighted = ((rows.highlighted or 0) + step) % len(self._hits)

    def _search_soon(self, words: str) -> None:
        begin(self, self._search, words, PAUSE_S, group="search", exclusive=True)

    async def _search(self, words: str, pause_s: float) -> None:
        import asyncio

        await asyncio.sleep(pause_s)
        self._searched = words
        if not words.strip():
            self._show([], "")
            return
        try:
            hits = await self._archive.do(search, words, _MOST)
        except EdgeLLMError as error:
            self._say(str(error))
        else:
            self._show(hits, words)

    def _show(self, hits: list[Hit], words: str) -> None:
        self._hits = hits
        rows = self.query_one(OptionList)
        rows.clear_options()
        if hits:
            rows.add_options([Option(_row(hit)) for hit in hits])
            rows.highlighted = 0
        elif words:
            self._say(f"Nothing has “{one_line(words)}”.")

    def _say(self, text: str) -> None:
        """In place of what is found."""
        rows = self.query_one(OptionList)
        rows.clear_options()
        self._hits = []
        rows.add_option(Option(Text(harmless(text), "dim"), disabled=True))


def _row(hit: Hit) -> Text:
    """The title above the words around the match."""
    row = Text(one_line(hit.title) or "(no name)", "bold", no_wrap=True, overflow="ellipsis")
    excerpt = Text("\n  ")
    at = 0
    for start, end in hit.marks:
        excerpt.append(harmless(hit.excerpt[at:start]), "dim")
        excerpt.append(harmless(hit.excerpt[start:end]), "reverse")
        at = end
    excerpt.append(harmless(hit.excerpt[at:]), "dim")
    return row.append_text(excerpt)

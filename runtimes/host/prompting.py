"""From what a caller asks to the text that an engine reads, with a model's own chat template."""

from collections.abc import Callable, Sequence

from edgellm.closing import Closing
from edgellm.errors import Cancelled, InputError
from edgellm.runtimes.cancel import CancelToken, heeding
from edgellm.runtimes.host.chat_template import TemplateHelper
from edgellm.runtimes.host.shortening import Shortening
from edgellm.runtimes.messages import Message
from edgellm.runtimes.protocol import ModelInfo
from edgellm.runtimes.wire import Conversation


class Prompter(Closing):
    """Owns the chat-template helper, which waits beside conversations only."""

    def __init__(self) -> None:
        self._helper: TemplateHelper | None = None

    def prepare(self) -> None:
        """Start the helper, so that it need not be waited for."""
        self._helper = self._helper or TemplateHelper()

    def close(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.close()

    def text(
        self,
        info: ModelInfo,
        prompt: str | Conversation,
        cancel: CancelToken,
        *,
        add_generation_prompt: bool = True,
    ) -> str:
        """The whole prompt. Raises InputError, Cancelled."""
        if isinstance(prompt, str):
            return prompt
        return self._rendered(info, prompt, prompt.messages, cancel, add_generation_prompt)

    def shortening(
        self,
        info: ModelInfo,
        prompt: str | Conversation,
        cancel: CancelToken,
        count: Callable[[str], int],
        *,
        add_generation_prompt: bool = True,
    ) -> Shortening | None:
        """What may shorten the prompt; None for one that must not lose anything.

        count: tokens of a text. Raises InputError, Cancelled.
        """
        if isinstance(prompt, str) or prompt.when_full != "shift":
            return None
        return Shortening(
            prompt.messages,
            prompt.dropped,
            render=lambda messages: self._rendered(
                info, prompt, messages, cancel, add_generation_prompt
            ),
            count=count,
            limit=info.context,
        )

    def _rendered(
        self,
        info: ModelInfo,
        past: Conversation,
        messages: Sequence[Message],
        cancel: CancelToken,
        add_generation_prompt: bool,
    ) -> str:
        if info.chat_template is None:
            raise InputError("this model has no chat template; give it plain text, not messages")
        self._helper = helper = self._helper or TemplateHelper()
        try:
            with heeding(cancel, helper.stop):
                return helper.render(
                    info.chat_template,
                    messages,
                    bos_token=info.bos,
                    eos_token=info.eos,
                    tools=past.tools,
                    thinking=past.thinking,
                    add_generation_prompt=add_generation_prompt,
                )
        except InputError:
            if cancel.cancelled:
                raise Cancelled("cancelled while its prompt was made") from None
            raise

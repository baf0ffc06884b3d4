"""For the tests of programs that use edgellm: an engine that needs no model and no time."""

from edgellm.runtimes.fake import CHAT_TEMPLATE, FakeModel, FakeRuntime, echo

__all__ = ["CHAT_TEMPLATE", "FakeModel", "FakeRuntime", "echo"]

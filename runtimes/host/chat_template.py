"""Turn a conversation into a prompt with the model's own template, which is untrusted code.

The sandbox of jinja2 keeps a template from Python's internals but not from using all time and
memory, so every rendering happens in a helper process under limits. One that kept them may render
again; any other is replaced.
"""

import json
import subprocess
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from edgellm.children import child_command, child_environment
from edgellm.closing import Closing
from edgellm.errors import EdgeLLMError, FormatError, InputError, RuntimeFailure
from edgellm.runtimes.host.template_variables import template_messages, template_tools
from edgellm.runtimes.messages import Message, Tool

MAX_TEMPLATE_BYTES = 256 << 10
MAX_OUTPUT_BYTES = 4 << 20
MAX_MEMORY_BYTES = 512 << 20  # where the system enforces it
LIMIT_S = 2.0
_HANG_S = 15.0  # the helper ends itself after LIMIT_S; this is for one that cannot even start
_MAX_REPLY_BYTES = 6 * MAX_OUTPUT_BYTES + (64 << 10)  # JSON in ASCII
_TIMED_OUT = 1  # exit status of faulthandler's watchdog
_MESSAGE_CHARACTERS = 200

# What the helper may report, as errors say it.
PROBLEMS: Mapping[str, str] = MappingProxyType(
    {
        "refused": "refuses this conversation",
        "security": "reaches for what templates may not use",
        "undefined": "uses something that does not exist",
        "length": f"makes more than {MAX_OUTPUT_BYTES >> 20} MiB of text",
        "recursion": "calls itself too deeply",
        "memory": f"needs more than {MAX_MEMORY_BYTES >> 20} MiB of memory",
        "other": "fails",
    }
)


class TemplateHelper(Closing):
    """Owns one helper process: make it before slow work, and its start costs no time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = _start()

    def render(
        self,
        template: str,
        messages: Sequence[Message],
        *,
        bos_token: str,
        eos_token: str,
        tools: Sequence[Tool] = (),
        thinking: bool | None = None,
        add_generation_prompt: bool = True,
    ) -> str:
        """The prompt for `messages`.

        tools: what the model may ask for. thinking: whether it may think first; None leaves that to
        the template. Raises FormatError for a template that is not valid, InputError when it
        refuses the messages, breaks a limit or fails.
        """
        _check(template, messages)
        request = {
            "template": template,
            "variables": {
                "messages": template_messages(messages),
                "tools": template_tools(tools),
                "documents": None,
                "add_generation_prompt": add_generation_prompt,
                "bos_token": bos_token,
                "eos_token": eos_token,
                # Templates ask whether this is defined at all.
                **({} if thinking is None else {"enable_thinking": thinking}),
            },
            "limit_s": LIMIT_S,
            "limit_bytes": MAX_OUTPUT_BYTES,
            "memory_bytes": MAX_MEMORY_BYTES,
        }
        return self._ask(json.dumps(request).encode())

    def stop(self) -> None:
        """End a rendering that another thread waits for; it raises InputError."""
        if (process := self._process) is not None:
            process.kill()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, request: bytes) -> str:
        self._process = self._process or _start()
        reply = _exchange(self._process, request)
        try:
            answer = json.loads(reply)
        except ValueError:
            answer = {}
        if "text" in answer:
            return str(answer["text"])
        process = self._process
        self.close()
        if "error" in answer:
            raise _error(str(answer["error"]), str(answer.get("message")))
        raise _died(process.returncode)


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> bytes:
    """One line there, one line back; empty when the helper died."""
    assert process.stdin is not None
    assert process.stdout is not None
    watchdog = threading.Timer(_HANG_S, process.kill)
    watchdog.start()
    try:
        process.stdin.write(request + b"\n")
        process.stdin.flush()
        return process.stdout.readline(_MAX_REPLY_BYTES)
    except OSError:
        return b""
    finally:
        watchdog.cancel()


def _start() -> subprocess.Popen[bytes]:
    command = child_command("edgellm.runtimes.host.chat_template_helper")
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            # Ctrl-C is for us; the helper ends when our end of its stdin closes.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise RuntimeFailure("chat template", f"cannot start {command[0]}: {error}") from error


def _check(template: str, messages: Sequence[Message]) -> None:
    size_bytes = len(template.encode("utf-8", "surrogatepass"))
    if size_bytes > MAX_TEMPLATE_BYTES:
        raise InputError(
            f"chat template: {size_bytes} bytes; at most {MAX_TEMPLATE_BYTES} are allowed"
        )
    for number, message in enumerate(messages, 1):
        try:
            message.content.encode()
        except UnicodeEncodeError:
            raise InputError(f"message {number} ({message.role}) is not valid Unicode") from None


def _died(status: int) -> InputError:
    if status == _TIMED_OUT:
        return InputError(f"chat template: not done after {LIMIT_S:.0f} s")
    return InputError(f"chat template: its process ended with status {status}")


def _error(kind: str, message: str) -> EdgeLLMError:
    printable = "".join(c if c.isprintable() else " " for c in message)
    line = " ".join(printable.split())[:_MESSAGE_CHARACTERS]
    if kind == "syntax":
        return FormatError("chat template", line)
    return InputError(f"chat template: {PROBLEMS[kind]}{': ' if line else ''}{line}")

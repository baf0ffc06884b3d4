"""Chat templates: what transformers makes of them, and what hostile ones get."""

import subprocess
import sys

import pytest

from edgellm.errors import EdgeLLMError, FormatError, InputError
from edgellm.runtimes.host.chat_template import TemplateHelper
from edgellm.runtimes.messages import Message
from tests.support.chat_templates import TEMPLATES

DIALOGUE = (
    Message("system", "  Be brief.\n"),
    Message("user", 'Say "<hi>" & émoji 🎈'),
    Message("assistant", "<think>\nhm\n</think>\n\nhi"),
    Message("user", "  again  \n\n"),
)


def prompt(template: str, *messages: Message, add_generation_prompt: bool = True) -> str:
    with TemplateHelper() as helper:
        return helper.render(
            template,
            messages,
            bos_token="<s>",
            eos_token="</s>",
            add_generation_prompt=add_generation_prompt,
        )


@pytest.mark.parametrize("add_generation_prompt", [True, False])
@pytest.mark.parametrize("name", TEMPLATES)
def test_the_prompt_is_the_one_transformers_makes(name: str, add_generation_prompt: bool) -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = DIALOGUE[1:] if name == "mistral" else DIALOGUE
    expected, _ = render_jinja_template(
        conversations=[[{"role": m.role, "content": m.content} for m in messages]],
        chat_template=TEMPLATES[name],
        add_generation_prompt=add_generation_prompt,
        bos_token="<s>",
        eos_token="</s>",
    )
    ours = prompt(TEMPLATES[name], *messages, add_generation_prompt=add_generation_prompt)
    assert ours == expected[0]


def test_a_template_may_refuse_the_conversation() -> None:
    with pytest.raises(InputError, match=r"refuses this conversation: Conversation roles must"):
        prompt(TEMPLATES["mistral"], Message("user", "a"), Message("user", "b"))


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(FormatError, match="chat template: line 2"):
        prompt("\n{{ x", Message("user", "a"))


HOSTILE = {
    "subclasses": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "may not use"),
    "globals": ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "may not use"),
    "attr filter": ("{{ (''|attr('__class__')).__mro__ }}", "may not use|does not exist"),
    "namespace": ("{% set n = namespace(_x=1) %}", "may not use"),
    "changing the messages": ("{{ messages.append(1) }}", "may not use"),
    "nested loops": (
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "not done after 2 s",
    ),
    "endless text": ("{% for a in range(99999) %}" + "x" * 99 + "{% endfor %}", "4 MiB"),
    "long range": ("{% for a in range(10**9) %}{% endfor %}", "fails: OverflowError"),
    "string multiply": ("{{ 'a' * 10**9 }}", "MiB|not done"),
    "format width": ("{{ '%1000000000d' % 1 }}", "MiB|not done"),
    "power": ("{{ 9 ** (9 ** 9) }}", "fails|memory|not done"),
    "recursion": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "too deeply"),
    "nesting": ("{{ " + "(" * 50_000 + ")" * 50_000 + " }}", "too deeply|ended"),
    "undefined": ("{{ no.such.thing }}", "does not exist: 'no' is undefined"),
    "division": ("{{ 1 / 0 }}", "fails: ZeroDivisionError"),
    "10 MB source": ("x" * 10_000_000, "at most 262144"),
    "two lines": ("{{ raise_exception('a\\n\\u001b[31mb') }}", r"conversation: a \[31mb$"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_ends_in_one_line(name: str) -> None:
    template, expected = HOSTILE[name]
    with pytest.raises(EdgeLLMError, match=expected) as refusal:
        prompt(template, Message("user", "hi"))
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_half_a_surrogate_pair_in_a_message_is_refused() -> None:
    with pytest.raises(InputError, match="message 1"):
        prompt("{{ messages[0].content }}", Message("user", "\ud83c"))


def test_a_helper_waits_before_it_is_asked_and_is_gone_when_closed() -> None:
    with TemplateHelper() as helper:
        process = helper._process
        assert process is not None
        assert process.poll() is None
    assert process.poll() is not None


def test_a_helper_renders_again_after_a_template_was_stopped() -> None:
    with TemplateHelper() as helper:
        with pytest.raises(InputError):
            helper.render("{{ 1 / 0 }}", [], bos_token="", eos_token="")
        assert helper.render("{{ bos_token }}", [], bos_token="<s>", eos_token="") == "<s>"


def test_the_helper_imports_nothing_that_would_keep_a_user_waiting() -> None:
    probe = (
        "import sys, edgellm.runtimes.host.chat_template_helper;"
        "print({'llama_cpp', 'numpy', 'msgspec', 'edgellm.runtimes.host.chat_template'}"
        " & set(sys.modules))"
    )
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert shown.stdout.strip() == "set()"

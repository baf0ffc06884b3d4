"""Renders chat templates in a process of its own, under limits: a line of JSON in, one out.

It uses nothing else of edgellm, so it is ready in a tenth of a second, and whatever a hostile
template does ends with this process.
"""

import faulthandler
import json
import os
import signal
import sys
from datetime import datetime
from functools import lru_cache
from typing import Any

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class RefusalError(jinja2.TemplateError):
    """The template itself called raise_exception."""


class TextLimitError(Exception):
    """The text grew past its limit."""


class GenerationTag(jinja2.ext.Extension):
    """Accepts {% generation %}, which marks the assistant's words for training and prints them."""

    tags = {"generation"}  # noqa: RUF012 (the name and type jinja2 asks for)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        call = nodes.CallBlock(self.call_method("_body"), [], [], body)
        return call.set_lineno(line)

    def _body(self, caller: Any) -> Any:
        return caller()


class SafeNamespace(jinja2.utils.Namespace):
    """A namespace whose attributes cannot reach Python's internals."""

    def __init__(*args: Any, **attributes: Any) -> None:
        # `self` stays free for templates, as in jinja2's own class.
        for name in dict(*args[1:], **attributes):
            _check_attribute(name)
        jinja2.utils.Namespace.__init__(*args, **attributes)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_attribute(name)
        super().__setitem__(name, value)


class DictMaker:
    """Stands in for `dict`, without the type's own attributes."""

    def __call__(self, *args: Any, **items: Any) -> dict[Any, Any]:
        return dict(*args, **items)

    def fromkeys(self, keys: Any, value: Any = None) -> dict[Any, Any]:
        return dict.fromkeys(keys, value)


def _check_attribute(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"namespace attribute {name!r}")


def raise_exception(message: object) -> None:
    raise RefusalError(str(message))


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Plain JSON; jinja2's own filter escapes for HTML."""
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def strftime_now(layout: str) -> str:
    return datetime.now().strftime(layout)


def environment() -> ImmutableSandboxedEnvironment:
    """What chat templates on the Hub are written for; the names are those transformers provides."""
    sandbox = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[GenerationTag, jinja2.ext.loopcontrols],
    )
    sandbox.filters["tojson"] = tojson
    sandbox.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": strftime_now,
        "dict": DictMaker(),
        "namespace": SafeNamespace,
    }
    return sandbox


@lru_cache(maxsize=1)
def compiled(template: str) -> jinja2.Template:
    return environment().from_string(template)


def render(template: str, variables: dict[str, Any], limit_bytes: int) -> str:
    """Raises TextLimitError as soon as the text passes `limit_bytes` of UTF-8."""
    pieces: list[str] = []
    size_bytes = 0
    for piece in compiled(template).generate(variables):
        size_bytes += len(piece.encode("utf-8", "surrogatepass"))
        if size_bytes > limit_bytes:
            raise TextLimitError
        pieces.append(piece)
    return "".join(pieces)


def limit_memory(memory_bytes: int) -> None:
    """Refuse this process more memory, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, limit in ((resource.RLIMIT_AS, memory_bytes), (resource.RLIMIT_CORE, 0)):
        try:
            resource.setrlimit(kind, (limit, limit))
        except (ValueError, OSError):  # macOS refuses RLIMIT_AS
            continue


def answer(request: dict[str, Any]) -> dict[str, str]:
    """Render, or name what went wrong: reply["error"] is a key of chat_template.PROBLEMS."""
    try:
        return {"text": render(request["template"], request["variables"], request["limit_bytes"])}
    except jinja2.TemplateSyntaxError as error:
        return {"error": "syntax", "message": f"line {error.lineno}: {error.message}"}
    except RefusalError as error:
        return {"error": "refused", "message": str(error)}
    except jinja2.exceptions.SecurityError as error:
        return {"error": "security", "message": str(error)}
    except jinja2.UndefinedError as error:
        return {"error": "undefined", "message": str(error)}
    except TextLimitError:
        return {"error": "length", "message": ""}
    except RecursionError:
        return {"error": "recursion", "message": ""}
    except MemoryError:
        return {"error": "memory", "message": ""}
    except Exception as error:  # whatever else a template can provoke is the template's fault
        return {"error": "other", "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    # Ctrl-C in a terminal reaches every process of it; the one that started this one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    nowhere = open(os.devnull, "w")  # noqa: PTH123, SIM115
    for line in sys.stdin:
        request = json.loads(line)
        # A native thread: it ends this process inside one long C call too, on every system.
        faulthandler.dump_traceback_later(request["limit_s"], exit=True, file=nowhere)
        limit_memory(request["memory_bytes"])
        reply = answer(request)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()

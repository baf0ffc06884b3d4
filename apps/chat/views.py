"""From the engine and an answer to what the status line and the panel show of them."""

from typing import TYPE_CHECKING

from edgellm.apps.chat.answering.answer import Answer
from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.widgets.machine import Machine
from edgellm.apps.chat.widgets.side_panel import PanelView
from edgellm.apps.chat.widgets.status import Status

if TYPE_CHECKING:
    from edgellm.events import Done
    from edgellm.runtimes.protocol import Settled


def status_of(
    engine: Engine, answer: Answer | None, used_tokens: int | None, *, json: bool
) -> Status:
    """answer: the one under way, or the last one. used_tokens: of the context."""
    model = engine.model if engine.is_ready else None
    memory = None if model is None else engine.memory
    plan = None if model is None else model.plan
    prefill = None if answer is None else answer.prefill
    return Status(
        model=named(engine),
        used_tokens=used_tokens,
        context=None if model is None else model.info.context,
        tokens_per_s=None if answer is None else answer.tokens_per_s,
        first_token_s=None if answer is None else answer.first_token_s,
        cached_share=prefill.cached / prefill.total if prefill and prefill.total else None,
        resident_bytes=None if memory is None else memory.resident_bytes,
        planned_bytes=None if plan is None else plan.memory.total_bytes,
        badges=("JSON",) if json else (),
    )


def panel_of(
    engine: Engine,
    answer: Answer | None,
    used_tokens: int | None,
    rates: tuple[float, ...],
    machine: Machine | None,
) -> PanelView:
    """rates: tokens per second along the answer, oldest first; see `status_of` for the others."""
    model = engine.model if engine.is_ready else None
    settled = None if model is None else model.info.settled
    prefill = None if answer is None else answer.prefill
    done = None if answer is None else answer.done
    rate = None if answer is None else answer.tokens_per_s
    return PanelView(
        model=named(engine),
        about="" if settled is None else engine_in_short(settled),
        plan=None if model is None else model.plan,
        memory=None if model is None else (answer.memory if answer else None) or engine.memory,
        used_tokens=used_tokens,
        context=None if model is None else model.info.context,
        rates=(*rates, *([rate] if rate else [])),
        prefill_tokens_per_s=None if done is None else _prefill_rate(done),
        first_token_s=None if answer is None else answer.first_token_s,
        cached=None if prefill is None else (prefill.cached, prefill.total),
        machine=machine,
    )


def named(engine: Engine) -> str:
    """The model there is, or that will be."""
    return engine.name if engine.state in (State.LOADING, State.READY) else "no model"


def engine_in_short(settled: "Settled") -> str:
    """What computes, without its list of instructions: "CPU, 2 threads"."""
    device = settled.engine.partition(" with ")[0]
    threads = "1 thread" if settled.threads == 1 else f"{settled.threads} threads"
    return f"{device}, {threads}"


def _prefill_rate(done: "Done") -> float:
    read = done.usage.prompt_tokens - done.usage.cached_tokens
    return done.timings.rate(read, done.timings.prefill_s)

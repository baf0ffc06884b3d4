"""What a load will do, decided from the file and the options before anything slow begins."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.events import EngineFallback
from edgellm.gguf_file import GGUFFile
from edgellm.plan import DEFAULT_CONTEXT
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.embedding import EmbeddingSettings, pooling_of
from edgellm.runtimes.llama_cpp.fingerprint import CacheSetup, rope_context
from edgellm.runtimes.llama_cpp.preconditions import (
    KVFormats,
    ModelFacts,
    check_tensors,
    choose_kv_formats,
    read_facts,
)
from edgellm.runtimes.llama_cpp.sampling import recommended_sampling
from edgellm.runtimes.llama_cpp.threads import useful_threads
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import EventSink
from edgellm.tokenizer.text_rules import TextRules


@dataclass(frozen=True, slots=True)
class Settings:
    """What a load will do."""

    context_tokens: int
    key_head_dim: int
    formats: KVFormats
    ubatch: int
    threads: int
    gpu_layers: int
    extra_buffers: bool  # rearranged copies of weights, and AMX
    weights: str  # one of options.WEIGHT_PLACES
    sampling: SamplingOptions
    chat_template: str | None
    rules: TextRules | None  # how text is cut; None leaves that to llama.cpp

    def turning_bytes(self, model: llama.llama_model_p) -> int:
        """Scratch that moving tokens in the cache takes: two float32 copies of a layer's keys.

        Only keys that are not quantized are turned in place.
        """
        if self.formats.key.block == 1:
            return 0
        heads: int = llama.llama_model_n_head_kv(model)
        return 2 * 4 * self.context_tokens * heads * self.key_head_dim

    def cache_setup(self, file: GGUFFile) -> CacheSetup:
        """What the bytes of the KV cache depend on."""
        needs_flash_attention = self.formats.value.needs_flash_attention_for_v
        return CacheSetup(
            key_format=self.formats.key.name,
            value_format=self.formats.value.name,
            flash_attention="always" if needs_flash_attention else "where it can",
            gpu_layers=self.gpu_layers,
            extra_buffers=self.extra_buffers,
            rope_context=rope_context(file, self.context_tokens),
        )

    def embedding(self, file: GGUFFile) -> EmbeddingSettings:
        return EmbeddingSettings(
            pooling=pooling_of(file),
            context=self.context_tokens,
            ubatch=self.ubatch,
            threads=self.threads,
        )


def settle(
    file: GGUFFile, options: LoadOptions, cache_dir: Path | None, on_event: EventSink
) -> Settings:
    """Check the file and decide; `on_event` hears what is not as asked.

    cache_dir: where findings about this machine are kept; None keeps none.
    Raises FormatError, InputError, UnsupportedError, UsageError.
    """
    facts = read_facts(file)
    check_tensors(file)
    gpu_layers = _gpu_layers(options.gpu_layers, on_event)
    template = file.metadata.get("tokenizer.chat_template")
    return Settings(
        context_tokens=_context_tokens(options.context, facts, on_event),
        key_head_dim=facts.key_head_dim,
        formats=choose_kv_formats(
            options.key_format, options.value_format, facts, on_gpu=gpu_layers != 0
        ),
        ubatch=options.ubatch,
        threads=options.threads or threads_for(file),
        gpu_layers=gpu_layers,
        extra_buffers=takes_extra_buffers(cache_dir, on_event),
        weights=options.weights,
        sampling=recommended_sampling(file.path, file.metadata),
        chat_template=template if isinstance(template, str) else None,
        rules=TextRules.from_metadata(file.metadata, str(file.path)),
    )


def takes_extra_buffers(cache_dir: Path | None, on_event: EventSink) -> bool:
    """Whether weights may be rearranged; `on_event` hears where that would crash here."""
    if (fallback := amx_fallback(cache_dir)) is None:
        return True
    on_event(EngineFallback(fallback))
    return False


def threads_for(file: GGUFFile) -> int:
    """Threads where nobody asked for a number."""
    return useful_threads(sum(tensor.bytes for tensor in file.tensors))


def _gpu_layers(asked: int, on_event: EventSink) -> int:
    if asked and not llama.llama_supports_gpu_offload():
        on_event(EngineFallback("this build of llama.cpp has no GPU support; all runs on the CPU"))
        return 0
    return asked


def _context_tokens(asked: int | None, facts: ModelFacts, on_event: EventSink) -> int:
    trained = facts.trained_context
    if asked is not None and asked > trained:
        on_event(
            EngineFallback(f"the context is {trained} tokens, not {asked}: all the model knows")
        )
    return min(asked or DEFAULT_CONTEXT, trained)

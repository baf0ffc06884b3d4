"""What generation_config.json says about sampling and where an answer ends."""

from dataclasses import dataclass

from edgellm.checkpoint.fields import Fields


@dataclass(frozen=True, slots=True)
class GenerationConfig:
    """The author's sampling settings; None where the checkpoint says nothing."""

    bos_token_id: int | None = None
    eos_token_ids: tuple[int, ...] = ()
    do_sample: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None  # 0 or less: no limit
    min_p: float | None = None
    repetition_penalty: float | None = None


def read_generation_config(written: Fields | None, config: Fields) -> GenerationConfig:
    """Read generation_config.json; token ids it leaves out come from config.json."""
    ids = [fields for fields in (written, config) if fields is not None]
    bos = next(
        (f.optional_integer("bos_token_id", low=0) for f in ids if f.has("bos_token_id")), None
    )
    eos = next((f.integers("eos_token_id") for f in ids if f.has("eos_token_id")), ())
    if written is None:
        return GenerationConfig(bos_token_id=bos, eos_token_ids=eos)
    return GenerationConfig(
        bos_token_id=bos,
        eos_token_ids=eos,
        do_sample=written.boolean("do_sample", False) if written.has("do_sample") else None,
        temperature=written.optional_number("temperature", low=0, high=100),
        top_p=written.optional_number("top_p", low=0, high=1),
        top_k=written.optional_integer("top_k", low=-1),
        min_p=written.optional_number("min_p", low=0, high=1),
        repetition_penalty=written.optional_number("repetition_penalty", low=0.01, high=100),
    )

"""Bad inputs as a user would meet them: each builder makes one and returns the command line."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

from tests.support.artifacts import write_artifact
from tests.support.checkpoints import (
    model_config,
    random_tensors,
    write_checkpoint,
    write_raw_safetensors,
)
from tests.support.gguf import Handmade, TinyLlama, array, pair, strings, tensor, u32

Build = Callable[[Path], list[str]]
INPUT, USAGE, NO = 3, 2, 1


def checkpoint(folder: Path, **options: object) -> Path:
    return write_checkpoint(folder / "model", tokenizer=True, **options)  # type: ignore[arg-type]


def convert(folder: Path, source: Path) -> list[str]:
    return ["convert", str(source), "-o", str(folder / "out"), "--memory", "1GiB"]


def config(**changes: object) -> Build:
    """A checkpoint whose config.json says something wrong."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder)
        path = source / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        return convert(folder, source)

    return build


def text_file(name: str, text: str | bytes) -> Build:
    """A checkpoint with one file replaced."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder)
        (source / name).write_bytes(text.encode() if isinstance(text, str) else text)
        return convert(folder, source)

    return build


def header(text: bytes, body: bytes = b"") -> Build:
    """A checkpoint whose safetensors file has this header."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder)
        write_raw_safetensors(source / "model.safetensors", text, body)
        return convert(folder, source)

    return build


def cut(name: str, keep_bytes: int) -> Build:
    """A checkpoint with one file cut short; negative counts from the end."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder)
        path = source / name
        path.write_bytes(path.read_bytes()[:keep_bytes])
        return convert(folder, source)

    return build


def index(weight_map: dict[str, object]) -> Build:
    """A sharded checkpoint whose index says something wrong about the given tensors."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder, shards=2)
        path = source / "model.safetensors.index.json"
        document = json.loads(path.read_text())
        document["weight_map"] |= weight_map
        path.write_text(json.dumps(document))
        return convert(folder, source)

    return build


def gguf(file: Handmade | bytes) -> Build:
    """A GGUF file to run."""

    def build(folder: Path) -> list[str]:
        path = folder / "model.gguf"
        path.write_bytes(file if isinstance(file, bytes) else file.to_bytes())
        return ["run", str(path), "hello"]

    return build


def arguments(*words: str) -> Build:
    """A command line; CKPT stands for a good checkpoint, HERE for an empty folder."""

    def build(folder: Path) -> list[str]:
        source = str(checkpoint(folder)) if "CKPT" in words else ""
        return [word.replace("CKPT", source).replace("HERE", str(folder)) for word in words]

    return build


def template(text: str) -> Build:
    """A converted model whose chat template does something wrong."""

    def build(folder: Path) -> list[str]:
        source = checkpoint(folder)
        settings = json.loads((source / "tokenizer_config.json").read_text())
        settings["chat_template"] = text
        (source / "tokenizer_config.json").write_text(json.dumps(settings))
        return ["run", str(source), "hello", "--memory", "1GiB", "--context", "256"]

    return build


def pickle_only(folder: Path) -> list[str]:
    source = checkpoint(folder)
    (source / "model.safetensors").unlink()
    (source / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'touch canary'\ntR.")
    return convert(folder, source)


def nan_weight(folder: Path) -> list[str]:
    source = checkpoint(folder)
    path = source / "model.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-4:] = struct.pack("<f", float("nan"))
    path.write_bytes(raw)
    return convert(folder, source)


def missing_shard(folder: Path) -> list[str]:
    source = checkpoint(folder, shards=2)
    next(source.glob("*-00002-*")).unlink()
    return convert(folder, source)


def shard_link_outside(folder: Path) -> list[str]:
    source = checkpoint(folder)
    (source / "model.safetensors").rename(folder / "outside.safetensors")
    (source / "model.safetensors").symlink_to(folder / "outside.safetensors")
    return convert(folder, source)


def no_tokenizer(folder: Path) -> list[str]:
    return convert(folder, write_checkpoint(folder / "model"))


def vocabulary_too_large(folder: Path) -> list[str]:
    return convert(folder, checkpoint(folder, vocab_size=1024))


def adapter(folder: Path) -> list[str]:
    (folder / "adapter_config.json").write_text("{}")
    return convert(folder, folder)


def gguf_as_checkpoint(folder: Path) -> list[str]:
    path = folder / "model.gguf"
    path.write_bytes(Handmade().to_bytes())
    return ["plan", str(path), "--memory", "1GiB"]


def plan_of_another_model(folder: Path) -> list[str]:
    plan = folder / "plan.json"
    plan.write_text('{"fits": true}')
    return ["convert", str(checkpoint(folder)), "-o", str(folder / "out"), "--plan", str(plan)]


def unsafe_manifest(folder: Path) -> list[str]:
    (folder / "edgellm.json").write_text('{"schema_version": 1, "files": [{"path": "../x"}]}')
    return ["run", str(folder), "hello"]


def long_prompt(folder: Path) -> list[str]:
    model = str(checkpoint(folder))
    return ["run", model, "word " * 5000, "--memory", "1GiB", "--context", "256", "--raw"]


def evaluate(text: bytes, *options: str, reference: bytes | None = None) -> Build:
    """Two GGUF files to compare on a text; the reference's bytes may be something else."""

    def build(folder: Path) -> list[str]:
        model = TinyLlama().write(folder / "model.gguf")
        (folder / "reference.gguf").write_bytes(reference or model.read_bytes())
        (folder / "text.txt").write_bytes(text)
        files = ["--reference", str(folder / "reference.gguf"), "--text", str(folder / "text.txt")]
        return ["eval", str(model), *files, *options]

    return build


def running(*options: str, verb: str = "run") -> Build:
    """A tiny GGUF file to run with these options; HERE stands for its folder."""

    def build(folder: Path) -> list[str]:
        model = TinyLlama().write(folder / "model.gguf")
        (folder / "broken").write_text("{")
        (folder / "bytes").write_bytes(b"\xff\xfe")
        words = [word.replace("HERE", str(folder)) for word in options]
        return [verb, str(model), *(["hello"] if verb == "run" else []), "--threads", "1", *words]

    return build


def without_a_prompt(folder: Path) -> list[str]:
    return ["run", str(TinyLlama().write(folder / "model.gguf"))]  # stdin is empty


def larger_context_than_planned(folder: Path) -> list[str]:
    artifact = write_artifact(folder / "artifact")
    return ["run", str(artifact.folder), "hello", "--context", "100000"]


HUGE = 2**63
NAMES = list(random_tensors("llama", model_config("llama"), 0))
OVERLAP = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'  # noqa: E501
HOLE = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}'
TWICE = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'  # noqa: E501

CASES: dict[str, tuple[Build, int]] = {
    # checkpoint folders
    "no such folder": (arguments("inspect", "HERE/none"), INPUT),
    "an empty folder": (arguments("inspect", "HERE"), INPUT),
    "weights only as pickle": (pickle_only, INPUT),
    "an adapter": (adapter, INPUT),
    "a GGUF file as checkpoint": (gguf_as_checkpoint, INPUT),
    "NaN in the weights": (nan_weight, INPUT),
    # safetensors
    "an empty weights file": (text_file("model.safetensors", b""), INPUT),
    "a header length past the end": (
        text_file("model.safetensors", struct.pack("<Q", HUGE) + b"{}"),
        INPUT,
    ),
    "a header that is not JSON": (header(b"{]"), INPUT),
    "a header that is not UTF-8": (header(b'{"\xff":1}'), INPUT),
    "a header nested deeply": (header(b'{"a":' + b"[" * 100_000), INPUT),
    "overlapping tensors": (header(OVERLAP, bytes(12)), INPUT),
    "a hole before a tensor": (header(HOLE, bytes(12)), INPUT),
    "a tensor named twice": (header(TWICE, bytes(4)), INPUT),
    "trailing bytes": (header(TWICE[:52] + b"}", bytes(9)), INPUT),
    "a shape that overflows": (
        header(
            b'{"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,4]}}'
        ),
        INPUT,
    ),
    "an 8-bit float dtype": (
        header(b'{"a":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}}', bytes(4)),
        INPUT,
    ),
    "weights cut by one byte": (cut("model.safetensors", -1), INPUT),
    "weights cut inside the header": (cut("model.safetensors", 100), INPUT),
    # index
    "a shard name that climbs": (index({NAMES[0]: "../model.safetensors"}), INPUT),
    "an absolute shard name": (index({NAMES[0]: "/etc/passwd"}), INPUT),
    "a shard name of another type": (index({NAMES[0]: 7}), INPUT),
    "a tensor that no shard holds": (index({"ghost": "model-00001-of-00002.safetensors"}), INPUT),
    "a missing shard": (missing_shard, INPUT),
    "a shard that links outside": (shard_link_outside, INPUT),
    # config.json
    "a config that is not JSON": (text_file("config.json", "{"), INPUT),
    "a config that is a list": (text_file("config.json", "[]"), INPUT),
    "a config nested deeply": (text_file("config.json", '{"a":' + "[" * 100_000), INPUT),
    "a config with a key twice": (text_file("config.json", '{"a":1,"a":2}'), INPUT),
    "a config of 8 MB": (text_file("config.json", '{"a":"' + "x" * 2**23 + '"}'), INPUT),
    "an unknown family": (config(model_type="mamba", architectures=["MambaForCausalLM"]), INPUT),
    "no layers": (config(num_hidden_layers=0), INPUT),
    "a million layers": (config(num_hidden_layers=10**6), INPUT),
    "a negative width": (config(hidden_size=-1), INPUT),
    "a width as text": (config(hidden_size="256"), INPUT),
    "heads that do not divide": (config(num_key_value_heads=3), INPUT),
    "an unsupported rope": (
        config(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}),
        INPUT,
    ),
    "an infinite rope base": (
        config(rope_parameters={"rope_type": "default", "rope_theta": 1e400}),
        INPUT,
    ),
    "two rope bases": (config(rope_theta=5e5), INPUT),
    "another activation": (config(hidden_act="gelu"), INPUT),
    "weights quantized already": (config(quantization_config={"quant_method": "gptq"}), INPUT),
    "a vocabulary of another size": (config(vocab_size=4095), INPUT),
    # tokenizer and template
    "no tokenizer": (no_tokenizer, INPUT),
    "a tokenizer cut short": (cut("tokenizer.model", 1000), INPUT),
    "a tokenizer of random bytes": (text_file("tokenizer.model", bytes(range(256)) * 8), INPUT),
    "a tokenizer larger than the embedding": (vocabulary_too_large, INPUT),
    "a tokenizer config that is not JSON": (text_file("tokenizer_config.json", "{"), INPUT),
    "a template with a syntax error": (template("{% for %}"), INPUT),
    "a template that escapes": (template("{{ ''.__class__.__mro__[1].__subclasses__() }}"), INPUT),
    "a template that multiplies": (template("{{ 'a' * 10**10 }}"), INPUT),
    "a template that refuses": (template("{{ raise_exception('no\nthanks') }}"), INPUT),
    # GGUF
    "an empty GGUF": (gguf(b""), INPUT),
    "a GGUF of another format": (gguf(b"PK\x03\x04" + bytes(60)), INPUT),
    "a GGUF of another version": (gguf(Handmade(version=99)), INPUT),
    "a GGUF with 2^63 tensors": (gguf(Handmade(n_tensors=HUGE)), INPUT),
    "a GGUF with 2^63 keys": (gguf(Handmade(n_pairs=HUGE)), INPUT),
    "a GGUF with a 2^63 array": (gguf(Handmade(pairs=(array("a", 4, HUGE, b""),))), INPUT),
    "a GGUF with a key twice": (gguf(Handmade(pairs=(u32("a", 1), u32("a", 1)))), INPUT),
    "a GGUF with a wild offset": (
        gguf(Handmade(tensors=(tensor("a", (4, 2), offset=2**40),))),
        INPUT,
    ),
    "a GGUF with an unknown type": (
        gguf(Handmade(tensors=(tensor("a", (4, 2), ggml_type=999),))),
        INPUT,
    ),
    "a GGUF with a wrapping shape": (
        gguf(Handmade(tensors=(tensor("a", (2**32, 2**32, 2**4)),))),
        INPUT,
    ),
    "a GGUF cut short": (gguf(Handmade().to_bytes()[:-40]), INPUT),
    "a GGUF with no model in it": (gguf(Handmade()), INPUT),
    "a GGUF with tokens of unequal count": (
        gguf(
            Handmade(
                pairs=(
                    pair("general.architecture", 8, struct.pack("<Q", 5) + b"llama"),
                    strings("tokenizer.ggml.tokens", ["a", "b"]),
                    array("tokenizer.ggml.token_type", 5, 1, struct.pack("<i", 1)),
                )
            )
        ),
        INPUT,
    ),
    # artifacts and plans
    "an artifact that points outside": (unsafe_manifest, INPUT),
    "a plan that is not one": (plan_of_another_model, INPUT),
    "a prompt longer than the context": (long_prompt, INPUT),
    # comparisons
    "no text": (arguments("eval", "novelist-7m", "--reference", "a", "--text", "HERE/no"), INPUT),
    "a folder as text": (
        arguments("eval", "novelist-7m", "--reference", "a", "--text", "HERE"),
        INPUT,
    ),
    "a text that is not UTF-8": (evaluate(b"caf\xe9"), INPUT),
    "an empty text": (evaluate(b""), INPUT),
    "a text shorter than a window": (evaluate(b"Once upon a time"), INPUT),
    "a saved reference that was cut off": (
        evaluate(b"Once", reference=b"edgellm reference\n" + bytes(12)),
        INPUT,
    ),
    "nothing of a window scored": (evaluate(b"Once", "--score-from", "510"), USAGE),
    "a reference that is no model": (evaluate(b"Once", reference=b"GGUF"), INPUT),
    "a comparison without a reference": (
        arguments("eval", "novelist-7m", "--text", "HERE/text"),
        USAGE,
    ),
    "a window of three tokens": (evaluate(b"Once", "--window", "3"), USAGE),
    "a window longer than the model knows": (evaluate(b"Once", "--window", "513"), USAGE),
    "less text than one window": (evaluate(b"Once", "--tokens", "511"), USAGE),
    "an unknown cache format": (evaluate(b"Once", "--kv", "f16/q9_9"), USAGE),
    "a comparison within too small a budget": (
        arguments(
            "eval", "CKPT", "--reference", "CKPT", "--text", "CKPT/config.json", "--memory", "1MiB"
        ),
        NO,
    ),
    # command lines
    "an unknown verb": (arguments("conver"), USAGE),
    "an unknown option": (arguments("plan", "CKPT", "--memry", "1GiB"), USAGE),
    "a missing argument": (arguments("plan"), USAGE),
    "a bare size": (arguments("plan", "CKPT", "--memory", "4"), USAGE),
    "an unknown unit": (arguments("plan", "CKPT", "--memory", "4XB"), USAGE),
    "no context": (arguments("plan", "CKPT", "--memory", "1GiB", "--context", "0"), USAGE),
    "more context than the model has": (
        arguments("plan", "CKPT", "--memory", "1GiB", "--context", "100000"),
        USAGE,
    ),
    "an unknown weight format": (
        arguments("plan", "CKPT", "--memory", "1GiB", "--format", "q9_9"),
        USAGE,
    ),
    "bits that mean nothing": (arguments("plan", "CKPT", "--target-bpw", "nan"), USAGE),
    "an unknown target": (arguments("convert", "CKPT", "-o", "HERE/out", "--to", "exe"), USAGE),
    "a file as output folder": (arguments("convert", "CKPT", "-o", "HERE/out.gguf"), USAGE),
    "a name that is not in the store": (arguments("show", "nothing"), INPUT),
    "a store name that climbs": (arguments("rm", "../..", "--yes"), INPUT),
    "a hub name offline": (arguments("inspect", "no-one/nothing", "--offline"), INPUT),
    "a top-p above one": (arguments("run", "novelist-7m", "hi", "--top-p", "2"), USAGE),
    "a schema that is not JSON": (running("--json-schema", '{"type":'), USAGE),
    "a schema file that is not JSON": (running("--json-schema", "HERE/broken"), USAGE),
    "a schema file that is missing": (running("--json-schema", "HERE/none"), INPUT),
    "a schema file of bytes": (running("--json-schema", "HERE/bytes"), INPUT),
    "a schema that no grammar follows": (
        running("--json-schema", '{"not": {"type": "string"}}'),
        USAGE,
    ),
    "a grammar that is broken": (running("--grammar", "HERE/broken"), USAGE),
    "a grammar that is missing": (running("--grammar", "HERE/none"), INPUT),
    "a grammar that is a folder": (running("--grammar", "HERE"), INPUT),
    "a schema and a grammar": (
        running("--json-schema", "{}", "--grammar", "HERE/broken"),
        USAGE,
    ),
    "guessing of an unknown kind": (running("--speculate", "ngrm"), INPUT),
    "a draft model that is no GGUF": (running("--speculate", "HERE/broken"), INPUT),
    "a draft model that is a folder": (running("--speculate", "HERE"), INPUT),
    "weights nowhere": (running("--weights", "shared"), USAGE),
    "an isolation of another kind": (running("--isolation", "thread"), USAGE),
    "no prompt": (without_a_prompt, USAGE),
    "more context than was planned": (larger_context_than_planned, USAGE),
    "a loaded model within too small a budget": (running("--memory", "8MiB"), NO),
    "a negative depth": (running("--depth", "-1", verb="bench"), USAGE),
    "depths that are no numbers": (running("--depth", "0,deep", verb="bench"), USAGE),
    "no rounds": (running("--rounds", "0", verb="bench"), USAGE),
    "a context too small to measure in": (
        running("--context", "64", verb="bench"),
        USAGE,
    ),
    "a budget that is far too small": (arguments("plan", "CKPT", "--memory", "1MiB"), NO),
    "weights that cannot be so small": (
        arguments("plan", "CKPT", "--memory", "1GiB", "--weights-memory", "1KiB"),
        NO,
    ),
}

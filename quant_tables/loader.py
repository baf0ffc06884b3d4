"""Reads the TOML tables of this folder into frozen rows and refuses whatever does not add up."""

import tomllib
from collections.abc import Mapping
from functools import cache
from itertools import pairwise
from math import inf
from pathlib import Path
from types import MappingProxyType

from edgellm.backends import Backend
from edgellm.errors import FormatError
from edgellm.formats import EngineFacts, KVFormat, StaticPriors, Tables, WeightFormat
from edgellm.gpus.gpu import VENDORS
from edgellm.quant_tables.rows import Place, read_row
from edgellm.spec import Role

_FOLDER = Path(__file__).parent
MATRIX_ROLES = (
    Role.TOKEN_EMBEDDING,
    Role.OUTPUT,
    Role.ATTN_Q,
    Role.ATTN_K,
    Role.ATTN_V,
    Role.ATTN_OUTPUT,
    Role.FFN_GATE,
    Role.FFN_UP,
    Role.FFN_DOWN,
)


@cache
def load_tables() -> Tables:
    """The tables that ship with edgellm. Raises FormatError naming the file and the row."""
    return read_tables(_FOLDER)


@cache
def load_kv_formats() -> Mapping[str, KVFormat]:
    """`load_tables().kv_formats`, without reading the rest."""
    return _read_kv_formats(_FOLDER / "kv_formats.toml")[0]


def read_tables(folder: Path) -> Tables:
    """Read and check the tables of `folder`. Raises FormatError naming the file and the row."""
    weight_formats = _read_weight_formats(folder / "weight_formats.toml")
    kv_formats, kv_pairs = _read_kv_formats(folder / "kv_formats.toml")
    engines = _read_engines(folder / "engines.toml", weight_formats)
    priors = _read_priors(folder / "static_priors.toml")
    backends = _read_backends(folder / "backends.toml", kv_formats)
    return Tables(weight_formats, kv_formats, kv_pairs, engines, priors, backends)


def _parse(path: Path) -> dict[str, object]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(path, f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FormatError(path, f"is not TOML: {error}") from error


def _read_weight_formats(path: Path) -> Mapping[str, WeightFormat]:
    rows = {}
    for name, table in _parse(path).items():
        given = {"name": name, "fallback": None, "reason": ""}
        rows[name] = read_row(WeightFormat, table, Place(path, name), given)
    for name, row in rows.items():
        _check_weight_format(row, rows, Place(path, name))
    return MappingProxyType(rows)


def _check_weight_format(row: WeightFormat, rows: Mapping[str, WeightFormat], place: Place) -> None:
    _check_block(row, place)
    if not 0 <= row.relative_rmse < 1:
        raise place.fault(f"relative_rmse is {row.relative_rmse}; expected 0 to 1")
    if row.plannable == bool(row.reason):
        raise place.fault("reason belongs where plannable is false, and only there")
    if row.block == 1:
        if row.fallback is not None:
            raise place.fault("needs no fallback: a block of 1 divides every row")
    elif row.fallback is None or row.fallback not in rows:
        raise place.fault(f"fallback is {row.fallback}; expected a row of this file")
    elif rows[row.fallback].block >= row.block:
        # Blocks that shrink at each step also keep the chain free of cycles.
        raise place.fault(f"fallback {row.fallback} has no smaller block than {row.block}")
    elif rows[row.fallback].block == 1 and row.fallback != "f16":
        raise place.fault(f"fallback chain ends in {row.fallback}; expected f16")


def _read_kv_formats(path: Path) -> tuple[Mapping[str, KVFormat], tuple[tuple[str, str], ...]]:
    document = _parse(path)
    if unknown := sorted(set(document) - {"formats", "offered"}):
        raise FormatError(path, f"key {unknown[0]} is unknown; known keys: formats, offered")
    tables = document.get("formats")
    if not isinstance(tables, dict):
        raise FormatError(path, "[formats] is missing")
    rows = {
        name: read_row(KVFormat, table, Place(path, f"formats.{name}"), {"name": name})
        for name, table in tables.items()
    }
    for name, row in rows.items():
        _check_block(row, Place(path, f"formats.{name}"))
    return MappingProxyType(rows), _kv_pairs(document.get("offered"), rows, path)


def _kv_pairs(
    names: object, rows: Mapping[str, KVFormat], path: Path
) -> tuple[tuple[str, str], ...]:
    """Every (K, V) of the offered formats in which K has no fewer bits than V, most bits first."""
    if not isinstance(names, list) or not names:
        raise FormatError(path, "offered is missing; expected names of formats")
    for name in names:
        if not isinstance(name, str) or name not in rows or names.count(name) > 1:
            raise FormatError(path, f"offered names {name!r}, which is no row or named twice")
    bits = {name: rows[name].bits_per_element for name in names}
    pairs = [(key, value) for key in names for value in names if bits[key] >= bits[value]]
    return tuple(sorted(pairs, key=lambda pair: -bits[pair[0]] - bits[pair[1]]))


def _read_engines(
    path: Path, weight_formats: Mapping[str, WeightFormat]
) -> Mapping[str, EngineFacts]:
    rows = {}
    for name, table in _parse(path).items():
        place = Place(path, name)
        row = read_row(EngineFacts, table, place, {"name": name})
        if min(_sizes(row)) < 0 or min(row.context_multiple, row.tensor_alignment) < 1:
            raise place.fault("bytes must not be negative, multiples must be at least 1")
        if not row.ubatches or min(row.ubatches) < 1 or not _falls(row.ubatches):
            raise place.fault("ubatches must be positive, largest first")
        if unknown := {*row.repacked_x86_64, *row.repacked_arm64} - set(weight_formats):
            raise place.fault(f"repacks {min(unknown)}, which is no row of weight_formats.toml")
        rows[name] = row
    return MappingProxyType(rows)


def _sizes(row: EngineFacts) -> tuple[int, ...]:
    vocabulary = (row.byte_level_bytes, row.byte_level_token_bytes, row.piece_bytes)
    process = (row.process_bytes, row.reserve_bytes, row.layer_bytes)
    return (*process, *vocabulary, row.token_loading_bytes, row.prompt_token_bytes)


def _falls(values: tuple[int, ...]) -> bool:
    return all(left > right for left, right in pairwise(values))


def _read_priors(path: Path) -> StaticPriors:
    place = Place(path, "static priors")
    priors = read_row(StaticPriors, _parse(path), place)
    if wrong := set(priors.roles) ^ {role.value for role in MATRIX_ROLES}:
        raise place.fault(f"roles.{min(wrong)} is missing, or no role of a matrix")
    layers = (priors.first_layer, priors.last_layer)
    if not all(0 < x < inf for x in (*priors.roles.values(), *layers)):
        raise place.fault("sensitivities must be positive")
    if not all(0 <= x < inf for x in (priors.key_cache, priors.value_cache)):
        raise place.fault("sensitivities of the caches must not be negative")
    return priors


def _read_backends(path: Path, kv_formats: Mapping[str, KVFormat]) -> Mapping[str, Backend]:
    rows = {}
    for name, table in _parse(path).items():
        place = Place(path, name)
        row = read_row(Backend, table, place, {"name": name})
        _check_backend(row, place)
        if row.reads == "gguf":
            _check_kv_formats(row, kv_formats, place)
        rows[name] = row
    return MappingProxyType(rows)


def _check_kv_formats(row: Backend, kv_formats: Mapping[str, KVFormat], place: Place) -> None:
    for name in row.kv_formats:
        if name not in kv_formats:
            raise place.fault(f"kv_formats names {name}, which is no row of kv_formats.toml")
        if kv_formats[name].cpu_only:
            raise place.fault(f"kv_formats names {name}, which runs on the CPU only")


def _check_backend(row: Backend, place: Place) -> None:
    if row.reads not in ("gguf", "onnx", "t4"):
        raise place.fault(f"reads is {row.reads!r}; expected gguf, onnx or t4")
    if unknown := set(row.vendors) - set(VENDORS.values()):
        raise place.fault(f"vendors names {min(unknown)}, which is none that is known")
    if row.on_gpu != bool(row.gpu) or (row.on_gpu and not row.kv_formats and row.reads == "gguf"):
        raise place.fault("gpu and, for gguf, kv_formats belong where vendors are")
    if not row.packages or not row.install:
        raise place.fault("packages and install must not be empty")
    if not 0 < row.shared_share <= 1:
        raise place.fault(f"shared_share is {row.shared_share}; expected more than 0, at most 1")
    if min(row.rank, row.rank_shared, row.reserve_bytes, row.least_driver) < 0:
        raise place.fault("ranks, reserve_bytes and least_driver must not be negative")


def _check_block(row: WeightFormat | KVFormat, place: Place) -> None:
    if min(row.block, row.block_bytes) < 1:
        raise place.fault("block and block_bytes must be at least 1")

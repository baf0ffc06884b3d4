"""Tables of formats, engines and priors, and the loader that checks them."""

from edgellm.quant_tables.loader import load_kv_formats, load_tables

__all__ = ["load_kv_formats", "load_tables"]

"""Grammars that answers follow: written from JSON Schemas, checked before an engine reads them."""

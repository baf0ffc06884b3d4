"""How weights become the codes of a format, and what that costs in output error."""

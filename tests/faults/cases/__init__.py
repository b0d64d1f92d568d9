"""The cases, grouped by what is broken."""

"""Readers: one module a file format, each a `twin.model.ModelReader`."""

"""IFC models (ISO 16739)."""

"""Writers: one module an output format."""

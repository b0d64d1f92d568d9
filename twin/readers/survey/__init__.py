"""Survey tables of underground pipes (CJJ 61)."""

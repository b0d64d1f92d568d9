"""Writers: one module an output format."""

HEIGHTS = "the city's height datum (1985 国家高程基准 unless the city says otherwise): not ellipsoidal, not converted"
"""What every output that has heights says of them."""

__all__ = ["HEIGHTS"]

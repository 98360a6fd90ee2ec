"""Models: encoders, decoders, and the one registry that joins them."""

from tf_landslide.models.registry import ARCHITECTURES, ENCODERS, build_model

__all__ = ["ARCHITECTURES", "ENCODERS", "build_model"]

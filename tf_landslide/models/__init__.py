"""Models: encoders and decoders, joined by ``build``; ``catalogue`` lists them without loading TensorFlow."""

STRIDE = 32
"""Models take heights and widths that are multiples of this."""

PASSES = 20
"""Of Monte-Carlo dropout, for each image."""

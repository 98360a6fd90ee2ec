"""Augmentation of training patches: seeded, in physical units, before the channels are computed.

``settings`` says what may happen; ``Augmenter`` makes it happen.
"""

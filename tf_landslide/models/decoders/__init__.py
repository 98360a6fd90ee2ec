"""Decoders: a feature pyramid in, a feature map at full resolution out."""

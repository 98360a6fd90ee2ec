"""Layers that Keras lacks, or has in a form that is slow, cannot be saved, or wants to know the image's size.

A layer's *registered name*, and the name of its class that Keras writes into weight files, are those of the first
release, whatever the class is called today: see ``tf_landslide.models._keras_compat.saved_as``.
"""

"""Patches on disk: finding, reading, checking, feeding, downloading, and the synthetic sample landscape."""

"""Readers of strangers' files under inputs that nobody wrote: ``make fuzz``, and a second of each in ``make test``."""

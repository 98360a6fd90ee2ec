"""Pictures as arrays (``pictures``) and figures with axes, by Matplotlib (``plots``, ``curves``)."""

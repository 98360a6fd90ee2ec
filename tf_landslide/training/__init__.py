"""Training by ``keras fit``: what happens in it, and what it is done with."""

"""Training by ``keras fit``: the config, the run and its folder."""

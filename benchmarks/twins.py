"""The paper's networks against those they are of: segmentation_models.pytorch, and transformers for SegFormer.

    python benchmarks/twins.py [NAME …]      all at full size, there and back, as a Markdown table
    python benchmarks/twins.py --small       writes tests/models/twins.npz, what `make test` compares small ones with

Each network is built in PyTorch with random weights and random running statistics and saved with torch.save. Ours takes
the file as `tf-landslide convert` does; its logits are compared with PyTorch's. Then ours is written as a state dict,
which PyTorch loads with strict=True, and its logits are compared again. PyTorch lives in .venv-bench, each network has
processes of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
from tests.models.twin_weights import (  # noqa: E402  (in either environment)
    CHANNELS,
    EVERY,
    FULL_SIZES,
    SMALL_FILTERS,
    SMALL_SIZE,
    image,
    random_tensor,
)

PEERS = HERE.parent / ".venv-bench" / "bin" / "python"
# By config: the encoder as smp calls it, or the width of SegFormer's decoder.
NETWORKS: dict[str, str | int] = {
    "unet_resnet34": "resnet34",
    "unet_vgg16": "vgg16",
    "unet_efficientnetb0": "efficientnet-b0",
    "unet_resnext50": "resnext50_32x4d",
    "unet_seresnet50": "se_resnet50",
    "unet_densenet121": "densenet121",
    "unet_seresnext50": "se_resnext50_32x4d",
    "unet_inceptionv4": "inceptionv4",
    "unet_inceptionresnetv2": "inceptionresnetv2",
    "unet_mobilenetv2": "mobilenet_v2",
    "unet_mit_b1": "mit_b1",
    "deeplabv3plus_resnet50": "resnet50",
    "segformer_mit_b2": 768,
}
THIN = {"embed_dims": [8, 16, 24, 32], "num_heads": [1, 2, 3, 4], "depths": [1, 1, 2, 1]}
# What makes them small: parameters of smp's encoders.
SMALL: dict[str, dict] = {
    "unet_resnet34": {"layers": [1, 2, 1, 1]},
    "unet_vgg16": {"config": [4, "M", 8, "M", 16, "M", 32, "M", 32, "M"], "out_channels": [4, 8, 16, 32, 32, 32]},
    "unet_efficientnetb0": {},
    "unet_resnext50": {"layers": [1, 1, 2, 1]},
    "unet_seresnet50": {"layers": [1, 2, 1, 1]},
    "unet_densenet121": {
        "block_config": [1, 2, 1, 1],
        "num_init_features": 8,
        "growth_rate": 4,
        "out_channels": [3, 8, 12, 14, 11, 9],
    },
    "unet_seresnext50": {"layers": [1, 1, 2, 1]},
    "unet_inceptionv4": {},
    "unet_inceptionresnetv2": {},
    "unet_mobilenetv2": {},
    "unet_mit_b1": {**THIN, "out_channels": [3, 0, 8, 16, 24, 32]},
    "deeplabv3plus_resnet50": {"layers": [1, 1, 2, 1]},
    "segformer_mit_b2": {},
}


# --- in the peers' environment


def theirs(name: str, small: bool = False):
    """The network in PyTorch, with random weights that go by their names."""
    import torch
    from peers import _smp

    smp, encoder = _smp(), NETWORKS[name]
    if isinstance(encoder, int):
        net = _segformer(encoder, small)
    else:
        options = {"encoder_weights": None, "in_channels": CHANNELS, "classes": 1}
        if small:
            smp.encoders.encoders[encoder]["params"] |= SMALL[name]
        if name.startswith("deeplab"):
            net = smp.DeepLabV3Plus(encoder, **options, **({"decoder_channels": 16} if small else {}))
        else:
            net = smp.Unet(encoder, **options, **({"decoder_channels": SMALL_FILTERS} if small else {}))
        if small:
            _shorten(net.encoder, name)
    state = net.state_dict()
    net.load_state_dict({key: torch.from_numpy(random_tensor(key, tuple(state[key].shape))) for key in state})
    return net.eval()


def _segformer(decoder: int, small: bool):
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    sizes = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512]}
    if small:
        sizes = {"depths": THIN["depths"], "hidden_sizes": THIN["embed_dims"], "num_attention_heads": THIN["num_heads"]}
    config = SegformerConfig(num_channels=CHANNELS, num_labels=1, decoder_hidden_size=24 if small else decoder, **sizes)
    return SegformerForSemanticSegmentation(config)


def _shorten(encoder, name: str) -> None:
    """One block of each kind, where smp does not let their number be chosen."""
    from torch import nn

    if name == "unet_inceptionv4":
        kept = (*range(7), 10, 11, 18, 19)
        encoder.features = nn.Sequential(*(encoder.features[i] for i in kept))
        encoder._out_indexes = [2, 4, 6, 8, len(kept) - 1]
    if name == "unet_inceptionresnetv2":
        for part in ("repeat", "repeat_1", "repeat_2"):
            setattr(encoder, part, getattr(encoder, part)[:1])


def answers(net, size: tuple[int, int]) -> np.ndarray:
    """Logits, (N, H, W, 1)."""
    import torch

    with torch.inference_mode():
        said = net(torch.from_numpy(image(size, 2).transpose(0, 3, 1, 2).copy()))
    return getattr(said, "logits", said).numpy().transpose(0, 2, 3, 1)


def write_theirs(name: str, folder: Path) -> None:
    import torch

    net = theirs(name)
    torch.save(net.state_dict(), folder / "theirs.pth")
    parameters = sum(parameter.numel() for parameter in net.parameters())
    logits = {f"logits{i}": answers(net, size) for i, size in enumerate(FULL_SIZES)}
    np.savez(folder / "theirs.npz", parameters=parameters, **logits)


def check_back(name: str, folder: Path) -> None:
    """Load what ours has written, strictly, into a network of other weights."""
    import torch

    net = theirs(name)
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    if isinstance(NETWORKS[name], int):  # transformers' own way, which knows the names of its earlier versions
        net.config.save_pretrained(folder)
        net, report = type(net).from_pretrained(folder, output_loading_info=True)
        assert not any(report[what] for what in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        net.eval()
    else:
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.zero_()
        net.load_state_dict(torch.load(folder / "ours.pth", weights_only=True), strict=True)
    idle = ("encoder._conv_head.", "encoder._bn1.")  # EfficientNet's, which nothing is computed with
    same = all(torch.equal(net.state_dict()[key], before[key]) for key in before if not key.startswith(idle))
    np.savez(folder / "back.npz", same=same, **{f"logits{i}": answers(net, size) for i, size in enumerate(FULL_SIZES)})


def write_small(out: Path) -> None:
    import torch

    found = {}
    for name in NETWORKS:
        net = theirs(name, small=True)
        with torch.inference_mode():
            said = net(torch.from_numpy(image(SMALL_SIZE).transpose(0, 3, 1, 2).copy()))
        found[name] = getattr(said, "logits", said).numpy().ravel()[::EVERY]
        shapes = {key: tuple(tensor.shape) for key, tensor in net.state_dict().items()}
        found[f"{name}_shapes"] = np.frombuffer(json.dumps(shapes).encode(), np.uint8)
        print(name, float(np.abs(found[name]).max()), sum(p.numel() for p in net.parameters()))
    np.savez_compressed(out, **found)


# --- in ours


def compare(name: str) -> tuple[str, ...]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        for role in ("theirs", "ours", "back"):
            python = sys.executable if role == "ours" else PEERS
            done = subprocess.run(
                [python, __file__, name, "--role", role, "--folder", folder], capture_output=True, text=True
            )
            if done.returncode:
                return name, f"{role}: {done.stderr.strip().splitlines()[-1]}", *[""] * 4
        a, b, c = (np.load(f"{folder}/{which}.npz") for which in ("theirs", "ours", "back"))
        numbers = [f"{difference(b[f'logits{i}'], a[f'logits{i}']):.1e}" for i in range(2)]
        back = max(difference(c[f"logits{i}"], a[f"logits{i}"]) for i in range(2))
        same = "bit for bit" if c["same"] else "NO"
        return name, *numbers, f"{same}, {back:.1e}", f"{int(a['parameters']):,}", f"{int(b['parameters']):,}"


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """The largest, relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(other).max())


def write_ours(name: str, folder: Path) -> None:
    from serving.startup import start_tensorflow

    start_tensorflow()
    import keras

    from tf_landslide.core.safe_torch import read_tensors, write_tensors
    from tf_landslide.jobs.catalogue import build_paper_model, paper_models
    from tf_landslide.models.torch_names import load_state_dict, state_dict_of

    model, architecture = build_paper_model(name, CHANNELS), paper_models()[name].architecture
    load_state_dict(model, architecture, read_tensors(folder / "theirs.pth"), "theirs.pth")
    for file in ("ours.pth", "model.safetensors"):
        write_tensors(folder / file, state_dict_of(model, architecture))
    logits = [layer for layer in model.layers if layer.name in ("logits", "logits_up")][-1].output
    network = keras.Model(model.inputs[0], logits)
    said = {f"logits{i}": network(image(size, 2), training=False).numpy() for i, size in enumerate(FULL_SIZES)}
    parameters = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    np.savez(folder / "ours.npz", parameters=parameters, **said)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NETWORKS), metavar="NAME", help=", ".join(NETWORKS))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--role", choices=["theirs", "ours", "back", "small"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.small:
        fixture = HERE.parent / "tests" / "models" / "twins.npz"
        return subprocess.run([PEERS, __file__, "--role", "small", "--folder", fixture]).returncode
    if a.role == "small":
        write_small(a.folder)
    elif a.role:
        {"theirs": write_theirs, "ours": write_ours, "back": check_back}[a.role](a.names[0], a.folder)
    else:
        from tf_landslide.core.tables import markdown_table

        header = ("network", "128 x 128", "96 x 160", "there and back", "parameters in PyTorch", "ours, trained")
        print(markdown_table(header, [compare(name) for name in a.names]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

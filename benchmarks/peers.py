"""Contenders in the peers' environment: PyTorch, ONNX Runtime, OpenVINO run directly."""

from __future__ import annotations

import os
import sys
import types
from functools import partial
from pathlib import Path

import numpy as np
from contest import Calls, Describe, NotApplicable, resident_mb, versions, work

SIZE, CHANNELS = 128, 6


def random_channels(n: int, channels_last: bool = False, size: int = SIZE) -> np.ndarray:
    """The very numbers that the product's contenders get, in PyTorch's order of axes or in TensorFlow's."""
    x = np.random.default_rng(0).standard_normal((n, size, size, CHANNELS), np.float32)
    return x if channels_last else np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def _smp():
    """segmentation_models_pytorch, also where torchvision's compiled operators do not load: nothing here calls them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules["torchvision._meta_registrations"] = types.ModuleType("torchvision._meta_registrations")
    import segmentation_models_pytorch

    return segmentation_models_pytorch


def _started(facts: dict, *packages: str):
    """Import PyTorch, note it; the device to work on."""
    import torch

    gpu = torch.cuda.is_available()
    facts |= {"gpu": torch.cuda.get_device_name() if gpu else None, "versions": versions("torch", *packages)}
    return torch.device("cuda" if gpu else "cpu")


def _unet_resnet34():
    return _smp().Unet("resnet34", encoder_weights=None, in_channels=CHANNELS, classes=1)


def _plain_unet(width: int = 64, depth: int = 4):
    """Ronneberger's U-Net, same-padded, without batch norm: the product's ``plain_unet`` in PyTorch."""
    import torch
    from torch import nn

    def block(given: int, filters: int) -> nn.Sequential:
        convolutions = (nn.Conv2d(given, filters, 3, padding=1), nn.Conv2d(filters, filters, 3, padding=1))
        return nn.Sequential(convolutions[0], nn.ReLU(inplace=True), convolutions[1], nn.ReLU(inplace=True))

    class PlainUNet(nn.Module):
        def __init__(self):
            super().__init__()
            widths = [width * 2**level for level in range(depth + 1)]
            self.down = nn.ModuleList(block(a, b) for a, b in zip([CHANNELS, *widths], widths, strict=False))
            pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
            self.transposed = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairs)
            self.up = nn.ModuleList(block(a, b) for a, b in pairs)
            self.head = nn.Conv2d(width, 1, 1)

        def forward(self, x):
            skips = []
            for level in self.down:
                skips.append(level(x if not skips else nn.functional.max_pool2d(skips[-1], 2)))
            x = skips.pop()
            for transposed, level in zip(self.transposed, self.up, strict=True):
                x = level(torch.cat([transposed(x), skips.pop()], 1))
            return self.head(x)

    return PlainUNet()


NETWORKS = {"unet_resnet34": _unet_resnet34, "plain_unet": _plain_unet}


def multiply_adds(model) -> int:
    """Multiplications for one patch in convolutions and dense layers, by forward hooks."""
    import torch
    from torch import nn

    total, mode = 0, model.training

    def count(layer, given, output):
        nonlocal total
        pixels = given[0] if isinstance(layer, nn.ConvTranspose2d) else output
        positions = pixels[0, 0].numel() if pixels.ndim == 4 else pixels[..., 0].numel()
        total += positions * layer.weight.numel()

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    weight = layers[0].weight
    with torch.inference_mode():
        model.eval()(torch.zeros(1, CHANNELS, SIZE, SIZE, device=weight.device))
    for hook in hooks:
        hook.remove()
    model.train(mode)
    return total


def training(
    facts: dict, network: str, compiled: bool, batch: int = 16, bfloat16: bool = False, size: int = SIZE
) -> tuple[Calls, Describe]:
    """Forward, backward and Adam on 0.5 binary cross-entropy + 0.5 Dice over the batch, channels last."""
    device = _started(facts, "segmentation_models_pytorch")
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    _smp()
    facts["imported_mb"] = resident_mb()
    model = NETWORKS[network]().train().to(device, memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    gpu = device.type == "cuda"
    half = torch.autocast(device.type, torch.float16 if gpu else torch.bfloat16, enabled=gpu or bfloat16)
    scaler = torch.amp.GradScaler("cuda", enabled=gpu)
    x = torch.from_numpy(random_channels(batch, size=size)).to(device, memory_format=torch.channels_last)
    y = torch.from_numpy((np.random.default_rng(1).random((batch, 1, size, size)) < 0.02).astype(np.float32)).to(device)

    def step() -> float:
        optimizer.zero_grad()
        with half:
            logits = forward(x)
        logits = logits.float()
        probability = logits.sigmoid()
        dice = 1 - (2 * (probability * y).sum() + 1e-7) / (probability.sum() + y.sum() + 1e-7)
        loss = 0.5 * binary_cross_entropy_with_logits(logits, y) + 0.5 * dice
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return _finished(loss)

    return {str(batch): step}, lambda: {"multiply_adds": multiply_adds(model)}


def _finished(loss) -> float:
    """The loss, once the whole step is done."""
    import torch

    if loss.is_cuda:
        torch.cuda.synchronize()
    return loss.item()


def export(facts: dict, folder: str) -> tuple[Calls, Describe]:
    """U-Net/ResNet-34 with random weights: its state, and the same as ONNX for any batch size."""
    import torch

    facts |= {"versions": versions("torch", "onnx")}
    torch.manual_seed(0)
    model = _unet_resnet34().eval()
    torch.save(model.state_dict(), Path(folder) / "unet.pt")
    axes = {"x": {0: "batch"}, "y": {0: "batch"}}
    names = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": axes}
    torch.onnx.export(model, torch.zeros(2, CHANNELS, SIZE, SIZE), Path(folder) / "unet.onnx", dynamo=False, **names)
    return {}, lambda: {"multiply_adds": multiply_adds(model)}


def _asked(predict, batches: list[int], channels_last: bool = False) -> tuple[Calls, Describe]:
    calls = {str(n): partial(predict, random_channels(n, channels_last)) for n in batches}
    return calls, lambda: {"probe": predict(random_channels(1, channels_last)).ravel()[::1021].tolist()}


def torch_inference(facts: dict, path: str, channels_last: bool, batches: list[int]) -> tuple[Calls, Describe]:
    device = _started(facts)
    import torch

    facts["imported_mb"] = resident_mb()
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = _unet_resnet34()
    model.load_state_dict(torch.load(path, weights_only=True))
    model = model.eval().to(device, memory_format=layout)

    def predict(x: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model(torch.from_numpy(x).to(device, memory_format=layout)).cpu().numpy()

    return _asked(predict, batches)


def onnx_inference(facts: dict, path: str, batches: list[int]) -> tuple[Calls, Describe]:
    import onnxruntime

    facts |= {"versions": versions("onnxruntime"), "imported_mb": resident_mb()}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return _asked(lambda x: session.run(None, {"x": x})[0], batches)


def openvino_inference(
    facts: dict, path: str, batches: list[int], channels_last: bool = False, precision: str | None = "f32"
) -> tuple[Calls, Describe]:
    """OpenVINO on a model file or SavedModel; ``precision=None`` leaves the choice to it."""
    import openvino

    facts |= {"versions": versions("openvino"), "imported_mb": resident_mb()}
    hints = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    compiled = openvino.Core().compile_model(openvino.convert_model(path), "CPU", hints)
    chosen = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    if not precision and chosen == "f32":
        raise NotApplicable("it computes in float32 here by itself")
    facts["precision"] = chosen
    return _asked(lambda x: compiled(x)[0], batches, channels_last)


def peak(facts: dict, sides: list[int]) -> tuple[Calls, Describe]:
    """Float32 matrix multiplication with all cores."""
    device = _started(facts)
    import torch

    def multiply(a, b):
        return torch.mm(a, b)[0, 0].item()

    squares = {side: torch.randn(side, side, device=device) for side in sides}
    return {str(side): partial(multiply, square, square) for side, square in squares.items()}, dict


def loading(facts: dict, folder: str, scales: list[float], batch: int = 16) -> tuple[Calls, Describe]:
    """A Dataset over h5py and a DataLoader with two processes, which later epochs keep."""
    _started(facts, "h5py")
    import plain
    import torch
    from torch.utils.data import DataLoader, Dataset

    pairs, factors = plain.pairs(folder), np.array(scales)

    class Patches(Dataset):
        def __init__(self, turn: bool):
            self.turn = turn

        def __len__(self) -> int:
            return len(pairs)

        def __getitem__(self, i: int):
            x, y = plain.read(*pairs[i], factors)
            if self.turn:
                x, y = plain.turned(x, y, np.random.default_rng(int.from_bytes(os.urandom(8), "big")))
            return torch.from_numpy(x).permute(2, 0, 1), torch.from_numpy(y).permute(2, 0, 1)

    def loader(turn: bool = False, keep: bool = False) -> DataLoader:
        return DataLoader(Patches(turn), batch, shuffle=turn, num_workers=2, persistent_workers=keep)

    def consume(batches: DataLoader) -> int:
        return sum(len(x) for x, _ in batches)

    held, turned = loader(keep=True), loader(turn=True, keep=True)

    def describe() -> dict:
        x, y = next(iter(loader()))
        return {"probe": [*x.double().mean((0, 2, 3)).tolist(), float(y.mean())]}

    calls = {"first": lambda: consume(loader()), "later": lambda: consume(held), "turned": lambda: consume(turned)}
    return calls, describe


KINDS = {
    "training": training,
    "export": export,
    "torch_inference": torch_inference,
    "onnx_inference": onnx_inference,
    "openvino_inference": openvino_inference,
    "peak": peak,
    "loading": loading,
}

if __name__ == "__main__":
    work(KINDS)

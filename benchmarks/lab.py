"""segmentation_models.pytorch, trained plainly on the patches that a config of ours names, and judged as ours are.

    python benchmarks/lab.py mmls_unet_resnet34 --data DIR --epochs 10 --seeds 0,1,2 --out peer_mmls
    python benchmarks/lab.py mmls_unet_resnet34 --data DIR data.groups.file=… --folds 5 --out peer_folds

The recipe is the config's: channels normalised by the training split, missing values zero; the eight flips and
rotations; Adam, cosine to zero over all steps, half binary cross-entropy and half Dice over the batch; of the epochs
the one with the highest validation F1 at its own best threshold. The network is smp.Unet, its encoder with random
weights. Of a config it follows data, batch, rate and seed; any other setting that is not as this recipe has it is
refused.
PyTorch lives in .venv-bench and sees arrays only; the probabilities that it writes are judged here:
OUT/probability_N_M.npz (probability, mask), OUT/scores.json, and OUT/seed_N with the counts, which is set beside runs
of ours:

    tf-landslide compare OURS/seed_* peer_mmls/seed_* --split valid --against peer_mmls/seed_0
    tf-landslide compare OURS/seed_*/out_of_fold peer_folds/seed_* --split valid --against peer_folds/seed_0

Folds are drawn by the config's own `data.split_seed` or seed, the same for every seed, as `train --seeds --folds` draws
them.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
PEERS = HERE.parent / ".venv-bench" / "bin" / "python"
THRESHOLDS = np.linspace(0, 1, 201)
FOLLOWED = re.compile(
    r"name|description|model\.(architecture|encoder)|training\.(epochs|batch_size|learning_rate|seed|images|trackers)"
    r"|data\.(layout|channels|median|bilateral|cache|valid_share|valid_groups|groups|split_seed|allow_|strict).*"
)  # of a config's keys; what else it says must be as it is by default


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of ours, e.g. data.channels")
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", default="resnet34", help="as smp calls it")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--folds", type=int, help="of train's groups, as `train --folds` makes them")
    parser.add_argument("--out", required=True, type=Path)
    a = parser.parse_intermixed_args()  # key=value may stand anywhere
    sys.path.insert(0, str(HERE.parent))
    from tf_landslide.runs.config import load_config

    a.out.mkdir(parents=True, exist_ok=True)
    scores = {}
    for seed in map(int, a.seeds.split(",")):
        config = load_config(a.config, [*a.overrides, f"training.seed={seed}"])
        require_followed(config, a.overrides)
        scores[seed] = one_seed(config, load_config(a.config, a.overrides).split_seed, a)
        print(f"seed {seed}: F1 {scores[seed]['f1']:.4f} at {scores[seed]['threshold']:.3f}", flush=True)
        (a.out / "scores.json").write_text(json.dumps(scores, indent=2))
    f1 = [one["f1"] for one in scores.values()]
    print(f"F1 {np.mean(f1):.4f}, standard deviation {np.std(f1, ddof=1) if len(f1) > 1 else 0:.4f}")


def require_followed(config, overrides: list[str]) -> None:
    """Exit where a config asks for what the peer is not trained with."""
    from tf_landslide.evaluation.comparison import flattened

    asked, plain = flattened(config.model_dump()), flattened(type(config)().model_dump())
    for key, value in asked.items():
        if value != plain.get(key) and not FOLLOWED.fullmatch(key):
            sys.exit(f"error: {key}={value}: the peer's recipe is one, and does not follow it; leave it out")
    if any(given.startswith("training.epochs=") for given in overrides):
        sys.exit("error: training.epochs: give --epochs")


def one_seed(config, drawn_by: int, a: argparse.Namespace) -> dict:
    """Scores of the validation split, or of all patches out of fold."""
    from tf_landslide.data.groups import balanced_folds, positions_of
    from tf_landslide.evaluation.keeping import keep_counts
    from tf_landslide.metrics.counts import Histograms, best_threshold, judge
    from tf_landslide.runs.splits import groups_of, open_splits

    sources = open_splits(config, a.data, splits=["train"] if a.folds else ["train", "valid"])
    train, split = arrays(sources["train"]), "train" if a.folds else "valid"
    groups, back = groups_of(config, sources).get(split), slice(None)
    if a.folds:
        held = [positions_of(groups, names) for names in balanced_folds(groups, a.folds, drawn_by)]
        rest = [np.setdiff1d(np.arange(len(groups)), one) for one in held]
        pairs = [([x[r] for x in train], [x[h] for x in train]) for r, h in zip(rest, held, strict=True)]
        back = np.argsort(np.concatenate(held))  # the split's own order
    else:
        pairs = [(train, arrays(sources["valid"]))]
    parts = []
    for number, (seen, held_out) in enumerate(pairs):
        out = a.out / f"probability_{config.training.seed}_{number}.npz"
        peer(config, a, seen, held_out, out)
        with np.load(out) as file:
            parts.append(Histograms.of(zip(file["probability"], file["mask"], strict=True)))
    pooled = Histograms(*(np.concatenate([getattr(p, kind) for p in parts])[back] for kind in ("landslide", "other")))
    scores = judge(pooled, best_threshold(pooled), groups=groups)
    keep_counts(
        a.out / f"seed_{config.training.seed}",
        peers_config(config, a.encoder, a.epochs),
        sources[split],
        pooled,
        scores,
        "chosen on all patches out of fold" if a.folds else "chosen on validation",
        groups,
        of_train=bool(a.folds) or config.data.divides_train,
    )
    return scores


def peers_config(config, encoder: str, epochs: int):
    """What was trained, in the words of a config of ours."""
    model = config.model.model_copy(update={"architecture": "smp_unet", "encoder": f"smp_{encoder}", "options": {}})
    training = config.training.model_copy(update={"epochs": epochs})
    return config.model_copy(update={"name": f"peer_smp_unet_{encoder}", "model": model, "training": training})


def arrays(source) -> list[np.ndarray]:
    """Channels and masks of a split."""
    return list(source.fetch(np.arange(len(source))))


def peer(config, a: argparse.Namespace, seen: list[np.ndarray], held_out: list[np.ndarray], out: Path) -> None:
    """Train one network in PyTorch's environment; its probabilities of what is held out are in ``out`` then."""
    with tempfile.TemporaryDirectory() as folder:
        patches = Path(folder) / "patches.npz"
        np.savez(patches, train_x=seen[0], train_y=seen[1], valid_x=held_out[0], valid_y=held_out[1])
        settings = {
            "patches": str(patches),
            "out": str(out),
            "encoder": a.encoder,
            "epochs": a.epochs,
            "batch": config.training.batch_size,
            "rate": config.training.learning_rate,
            "seed": config.training.seed,
        }
        subprocess.run([str(PEERS), __file__, json.dumps(settings)], check=True)


def train(patches: str, out: str, encoder: str, epochs: int, batch: int, rate: float, seed: int) -> None:
    """In PyTorch's environment: train one network, write its probabilities of the validation patches."""
    import torch
    from peers import _smp
    from torch.nn.functional import binary_cross_entropy_with_logits

    with np.load(patches) as file:
        x, y, valid_x, valid_y = (file[name] for name in ("train_x", "train_y", "valid_x", "valid_y"))
    mean, std = np.nanmean(x, (0, 1, 2), dtype=np.float64), np.nanstd(x, (0, 1, 2), dtype=np.float64)

    def tensors(values: np.ndarray) -> torch.Tensor:
        normalised = np.nan_to_num((values - mean) / std).astype(np.float32)
        return torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    inputs, masks = tensors(x), torch.from_numpy(y.astype(np.float32).transpose(0, 3, 1, 2).copy())
    valid = tensors(valid_x)
    network = _smp().Unet(encoder, encoder_weights=None, in_channels=x.shape[-1], classes=1)
    network = network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters(), rate)
    steps = epochs * (len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best = -1.0
    for epoch in range(epochs):
        network.train()
        order = rng.permutation(len(x))
        for start in range(0, len(x) - batch + 1, batch):
            turns = rng.integers(0, 8, batch)
            pairs = [turned(inputs[i], masks[i], turn) for i, turn in zip(order[start:], turns, strict=False)]
            bx = torch.stack([one for one, _ in pairs]).to(memory_format=torch.channels_last)
            by = torch.stack([mask for _, mask in pairs])
            logits = network(bx)
            p = logits.sigmoid()
            dice = 1 - 2 * (p * by).sum() / ((p + by).sum() + 1e-7)
            loss = 0.5 * binary_cross_entropy_with_logits(logits, by) + 0.5 * dice
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        network.eval()
        with torch.inference_mode():
            probability = torch.cat([network(part).sigmoid() for part in valid.split(batch)])[:, 0].numpy()
        f1 = best_f1(probability, valid_y[..., 0])
        print(f"  epoch {epoch + 1}: validation F1 {f1:.4f}", flush=True)
        if f1 > best:
            best = f1
            np.savez(out, probability=probability, mask=valid_y[..., 0])


def turned(image, mask, turn: int):
    """One of the eight symmetries of an image and its mask, (C, H, W)."""
    import torch

    image, mask = (torch.rot90(one, int(turn) % 4, (1, 2)) for one in (image, mask))
    return (image.flip(2), mask.flip(2)) if turn >= 4 else (image, mask)


def best_f1(probability: np.ndarray, mask: np.ndarray) -> float:
    truth = mask == 1
    marked = [probability >= threshold for threshold in THRESHOLDS]
    return max(2 * (m & truth).sum() / max(1, m.sum() + truth.sum()) for m in marked)


if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1].startswith("{"):
        train(**json.loads(sys.argv[1]))
    else:
        main()

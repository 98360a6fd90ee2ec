"""The Markdown of `bench.py`, made anew from all results each time: targets first, then each group's own table."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import server
from contest import cpu_seconds_each, median_seconds, speed_ratio

from tf_landslide.core.files import write_text
from tf_landslide.core.tables import markdown_table

OURS, OURS_XLA, OURS_TF, OURS_AUTO = "ours", "ours, XLA", "ours, TensorFlow", "ours, fastest"
OURS_BFLOAT16, OURS_INT8 = "ours, bfloat16", "ours, int8"
SMP, COMPILED, PLAIN_TORCH = "segmentation_models.pytorch, channels last", ", torch.compile", "PyTorch, channels last"
TRAINED_BFLOAT16 = "ours, mixed_bfloat16"
SMP_BFLOAT16 = "segmentation_models.pytorch, channels last, autocast to bfloat16"
CHECKPOINTED = "ours, gradient checkpointing"
KERAS_SM = "segmentation-models on Keras"
TORCH, TORCH_LAST, ONNX = "PyTorch, contiguous", "PyTorch, channels last", "ONNX Runtime"
OPENVINO, OPENVINO_OURS = "OpenVINO run directly, PyTorch's ONNX", "OpenVINO run directly, our SavedModel"
OPENVINO_DEFAULT = "OpenVINO, bfloat16 (its default here)"
OWN_NETWORK = (OURS_TF, OURS_AUTO, OURS_BFLOAT16, OURS_INT8, OPENVINO_OURS)
OURS_UNCACHED = "ours, cache: none"
GENERATOR, GENERATOR_CACHED = "h5py in a tf.data generator", "the same with tf.data's cache"
LOADER = "h5py in a PyTorch DataLoader, 2 processes"

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
INTRO = """# Performance

What the product costs beside its peers, measured by `make bench` on one machine. It writes what stands between the two
markers; the raw rounds are in [performance.json](performance.json).
"""
NO_GROWTH_MB = 1.0  # an epoch; below this, resident memory is as restless without any training

Interval = tuple[float, float, float]
Results = dict[str, dict]


def write(path: Path, results: Results) -> None:
    """Put the tables between the markers of ``path``; what stands outside them stays."""
    before, after = (path.read_text() if path.is_file() else INTRO) + "\n", "\n"
    if BEGIN in before and END in before:
        after = before.split(END, 1)[1]
        before = before.split(BEGIN, 1)[0]
    write_text(path, f"{before}{BEGIN}\n{markdown(results)}\n{END}{after.rstrip()}\n")


def markdown(results: Results) -> str:
    parts = [_circumstances(results), _targets(results)]
    for name, (title, section) in SECTIONS.items():
        if name in results:
            parts.append(f"## {title}\n\n{_about(results, name)}\n\n{section(results)}")
    return "\n\n".join([*parts, _gpu(results)])


def _number(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _three(value: float | None) -> str:
    """Three digits, whatever the size."""
    if value is None:
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _interval(value: Interval | float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, tuple):
        return f"{_three(value[0])} ({_three(value[1])}–{_three(value[2])})"
    return _three(value)


# --- where and when


def _circumstances(results: Results) -> str:
    newest = max((group["about"] for group in results.values()), key=lambda about: about["date"])
    lines = [f"Machine: {newest['machine']}. Python {newest['python']}; {_versions(results)}."]
    if any(group["about"]["quick"] for group in results.values()):
        lines.insert(0, "**A smoke run (`--quick`): these numbers show that it works, and nothing else.**\n")
    lines.append(
        "A ratio is the median of ratios round by round, with its 95 % bootstrap interval; all else are medians of "
        "rounds. Contenders are processes of their own, asked in alternating order, one at a time."
    )
    return "\n".join(lines)


def _versions(results: Results) -> str:
    found: dict[str, set[str]] = {}
    for contender in _contenders(results):
        for package, version in contender.get("facts", {}).get("versions", {}).items():
            found.setdefault(package, set()).add(version)
    return ", ".join(f"{package} {' and '.join(sorted(found[package]))}" for package in sorted(found)) or "no versions"


def _contenders(results: Results) -> list[dict]:
    return [contender for group in results.values() for contender in group.get("contenders", {}).values()]


def _about(results: Results, name: str) -> str:
    about = results[name]["about"]
    rounds = {len(one) for c in results[name].get("contenders", {}).values() for one in c.get("rounds", {}).values()}
    said = [about["date"], f"revision {about['revision']}", about["machine"]]
    said += [f"rounds: {max(rounds)}"] if rounds else []
    said += [f"load average {about['load']} at its start"] if about["load"] > 1 else []
    return f"*{'; '.join(said)}.*"


# --- targets


@dataclass(frozen=True)
class Target:
    """What was asked for, and what it came to.

    Attributes:
        row: what is measured.
        asked: the least (or the most) that was asked for.
        aim: what was aimed at.
        measure: finds it; None where it was not measured.
        at_most: whether smaller is better.
        asked_text, aim_text: in place of the numbers.
    """

    row: str
    asked: float
    aim: float
    measure: Callable[[Results], Interval | float | None]
    at_most: bool = False
    asked_text: str = ""
    aim_text: str = ""

    def cells(self, results: Results) -> list[str]:
        measured = self.measure(results)
        sign = "≤ " if self.at_most else ""
        asked, aim = self.asked_text or f"{sign}{self.asked:g}", self.aim_text or f"{sign}{self.aim:g}"
        return [self.row, asked, aim, _interval(measured), self.verdict(measured)]

    def verdict(self, measured: Interval | float | None) -> str:
        if measured is None:
            return "not measured"
        value = measured[0] if isinstance(measured, tuple) else measured

        def reaches(goal: float) -> bool:
            return value <= goal if self.at_most else value >= goal

        return "aim reached" if reaches(self.aim) else "asked reached" if reaches(self.asked) else "**missed**"


def _targets(results: Results) -> str:
    rows = [target.cells(results) for target in TARGETS]
    return f"## Targets\n\n{markdown_table(['row', 'asked at least', 'aim', 'measured', 'verdict'], rows)}"


def _of(results: Results, group: str) -> dict[str, dict]:
    return results.get(group, {}).get("contenders", {})


def _ratio(results: Results, group: str, ours: str, theirs: str | None, variant: str, other: str | None = None):
    contenders = _of(results, group)
    if ours not in contenders or theirs not in contenders:
        return None
    return speed_ratio(contenders[ours], contenders[theirs], variant, other)


def _best(results: Results, group: str, names: Sequence[str], variant: str) -> str | None:
    """The fastest of some contenders."""
    timed = {name: median_seconds(_of(results, group).get(name, {}), variant) for name in names}
    return min((name for name in timed if timed[name]), key=lambda name: timed[name], default=None)


def _step_ratio(results: Results, group: str, ours: str, theirs: str):
    return _ratio(results, group, ours, theirs, str(results.get(group, {}).get("batch")))


def _over_torch(ours: str, batch: str):
    return lambda results: _ratio(
        results, "inference", ours, _best(results, "inference", (TORCH, TORCH_LAST), batch), batch
    )


def _over_openvino(batch: str, among: tuple[str, ...]):
    return lambda results: _ratio(results, "inference", OURS_AUTO, _best(results, "inference", among, batch), batch)


def _over_all(batch: str):
    """Over the fastest other runtime in float32."""
    return _over_openvino(batch, (TORCH, TORCH_LAST, ONNX, OPENVINO, OPENVINO_OURS))


def _over_float32(short: str):
    return lambda results: _ratio(results, "inference", short, OURS_AUTO, "16")


def _over_generator(variant: str):
    return lambda results: _ratio(results, "input", OURS, GENERATOR, variant)


def _over_consumption(results: Results, variant: str = "turned") -> float | None:
    """Patches a second that come from files, over those that a training step takes."""
    loaded = median_seconds(_of(results, "input").get(OURS, {}), variant)
    batch = results.get("training", {}).get("batch")
    fastest = _best(results, "training", (OURS, OURS_XLA), str(batch))
    step = median_seconds(_of(results, "training")[fastest], str(batch)) if fastest else None
    return results["input"]["patches"] / loaded / (batch / step) if loaded and step else None


def _command(name: str):
    def measure(results: Results) -> float | None:
        found = results.get("start", {}).get("command", {}).get(name)
        if not found or not found["seconds"]:
            return None
        return math.inf if found["imports_tensorflow"] else statistics.median(found["seconds"])

    return measure


def _windows(results: Results) -> str:
    group = results["training_windows"]
    batch, size = group["batch"], group["size"]
    rows = [
        [
            name,
            _three(seconds and batch / seconds),
            "" if name == OURS else _interval(_step_ratio(results, "training_windows", OURS, name)),
            _number(_memory_mb(contender), 0),
        ]
        for name, contender in group["contenders"].items()
        for seconds in [median_seconds(contender, str(batch))]
    ]
    return f"The same step of U-Net/ResNet-34 on {batch} windows of {size} x {size} x 6.\n\n" + markdown_table(
        ["", "windows/s", "ours ÷ it", "MB above import"], rows
    )


def _memory_mb(contender: dict) -> float | None:
    """Highest resident memory above what importing took."""
    facts, rounds = contender.get("facts"), contender.get("rounds", {})
    if not facts or "imported_mb" not in facts:
        return None
    peaks = [one["peak_mb"] for variant in rounds.values() for one in variant]
    return max([*peaks, facts["peak_mb"]]) - facts["imported_mb"]


def _memory_ratio(results: Results) -> float | None:
    ours, theirs = (_memory_mb(_of(results, "training").get(name, {})) for name in (OURS, SMP))
    return ours / theirs if ours and theirs else None


def _mb_an_epoch(results: Results) -> float | None:
    resident = results.get("growth", {}).get("epochs", {}).get("resident_mb")
    return statistics.linear_regression(range(len(resident)), resident).slope if resident else None


TARGETS = (
    Target(
        "training step, U-Net/ResNet-34: ours ÷ segmentation_models.pytorch, channels last",
        0.85,
        1.0,
        lambda results: _step_ratio(results, "training", OURS, SMP),
    ),
    Target(
        "the same in bfloat16, ours ÷ its best setting",
        1.0,
        1.2,
        lambda results: _step_ratio(
            results,
            "training",
            TRAINED_BFLOAT16,
            _best(
                results,
                "training",
                (SMP_BFLOAT16, SMP_BFLOAT16 + COMPILED),
                str(results.get("training", {}).get("batch")),
            ),
        ),
    ),
    Target("inference, batch 16: TensorFlow alone ÷ PyTorch's better layout", 0.95, 1.1, _over_torch(OURS_TF, "16")),
    Target("inference, batch 1: fastest ÷ PyTorch's better layout", 1.2, 1.4, _over_torch(OURS_AUTO, "1")),
    Target("inference, batch 16: fastest ÷ PyTorch's better layout", 1.03, 1.2, _over_torch(OURS_AUTO, "16")),
    Target("inference, batch 64: fastest ÷ PyTorch's better layout", 1.2, 1.3, _over_torch(OURS_AUTO, "64")),
    Target(
        "inference, batch 16: fastest ÷ OpenVINO run directly on the same SavedModel",
        0.95,
        1.0,
        _over_openvino("16", (OPENVINO_OURS,)),
    ),
    Target(
        "the same ÷ the better OpenVINO, PyTorch's network included",
        0.95,
        1.0,
        _over_openvino("16", (OPENVINO, OPENVINO_OURS)),
    ),
    *(
        Target(f"inference, batch {batch}: fastest ÷ the fastest other runtime, float32", 0.97, 1.05, _over_all(batch))
        for batch in ("1", "16", "64")
    ),
    Target("inference, batch 16: bfloat16 ÷ our float32", 1.7, 2.0, _over_float32(OURS_BFLOAT16)),
    Target("inference, batch 16: int8 ÷ our float32", 2.0, 3.0, _over_float32(OURS_INT8)),
    Target("input, first epoch, all checks on: ours ÷ h5py generator", 5, 10, _over_generator("first")),
    Target("input, later epochs: ours ÷ h5py generator", 20, 50, _over_generator("later")),
    Target("input, later epochs, shuffled and turned: ours ÷ h5py generator", 10, 20, _over_generator("turned")),
    Target("input, later epochs, shuffled and turned ÷ what the faster training step takes", 20, 50, _over_consumption),
    Target("`tf-landslide --help`, seconds, without TensorFlow", 1, 0.3, _command("--help"), at_most=True),
    Target("`tf-landslide models`, seconds, without TensorFlow", 1, 0.3, _command("models"), at_most=True),
    Target(
        "training, U-Net/ResNet-34: memory above import ÷ segmentation_models.pytorch's",
        1.5,
        1.2,
        _memory_ratio,
        at_most=True,
    ),
    Target(
        f"training: growth of memory, MB an epoch (none: below {NO_GROWTH_MB:g})",
        NO_GROWTH_MB,
        NO_GROWTH_MB,
        _mb_an_epoch,
        at_most=True,
        asked_text="none",
        aim_text="none",
    ),
)


# --- the groups


def _training(results: Results, group: str, peer: str) -> str:
    contenders, batch = _of(results, group), results[group]["batch"]
    variant, rows, marked = str(batch), [], False
    for name, contender in contenders.items():
        if "error" in contender:
            rows.append([name, f"failed: {contender['error']}", *["–"] * 7])
            continue
        facts, cpu = contender["facts"], cpu_seconds_each(contender, variant)
        mine = contenders.get(OURS, {}).get("facts", {}).get("multiply_adds", facts["multiply_adds"])
        unlike = abs(facts["multiply_adds"] / mine - 1) > 0.02
        marked |= unlike
        seconds = median_seconds(contender, variant)
        rows.append(
            [
                name,
                _three(batch / seconds if seconds else None),
                "" if name == OURS else _interval(_step_ratio(results, group, OURS, name)),
                "" if name == OURS_XLA else _interval(_step_ratio(results, group, OURS_XLA, name)),
                _three(cpu / batch if cpu else None),
                f"{facts['multiply_adds'] / 1e9:.3f} G{' †' if unlike else ''}",
                _three(facts["first_seconds"][variant]),
                _number(_memory_mb(contender), 0),
            ]
        )
    header = [
        "",
        "patches/s",
        "ours ÷ it",
        "ours, XLA ÷ it",
        "CPU-s a patch",
        "multiply-adds",
        "first step, s",
        "MB above import",
    ]
    text = (
        f"Forward, backward and Adam at batch {batch}, 128 × 128 × 6, half binary cross-entropy and half Dice, until "
        f"the loss is known. Our default is without XLA ({OURS!r}).\n\n{markdown_table(header, rows)}"
    )
    if marked:
        text += "\n\n† not the same network: multiply-adds differ by more than 2 %."
    reverse = _step_ratio(results, group, OURS_XLA, peer)
    return text + (f"\n\nWith XLA, ours ÷ {peer}: {_interval(reverse)}." if reverse else "")


def _inference(results: Results) -> str:
    group = results["inference"]
    contenders, flops = group["contenders"], group["peak_flops"]
    batches = list(next((c["rounds"] for c in contenders.values() if "rounds" in c), {}))
    best = {batch: _best(results, "inference", (TORCH, TORCH_LAST), batch) for batch in batches}
    rows = []
    for name, contender in contenders.items():
        if "error" in contender:
            rows.append([name, f"failed: {contender['error']}", *["–"] * (3 * len(batches) + 1)])
            continue
        adds = group["multiply_adds"]["ours" if name in OWN_NETWORK else "peers"]
        cells = []
        for batch in batches:
            seconds = median_seconds(contender, batch)
            rate = int(batch) / seconds if seconds else None
            share = 200 * adds * rate / flops if rate and flops else None
            cells += [
                _three(rate),
                _interval(_ratio(results, "inference", name, best[batch], batch)),
                f"{_number(share, 0)} %",
            ]
        rows.append([name, *cells, _number(_memory_mb(contender), 0), _difference(contenders, name)])
    header = ["", *(cell for batch in batches for cell in (f"{batch}: patches/s", "÷ PyTorch", "of peak"))]
    header += ["MB above import", "difference"]
    runtime = contenders.get(OURS_AUTO, {}).get("facts", {}).get("runtime")
    return (
        f"U-Net/ResNet-34, 128 × 128 × 6, by batch size. “÷ PyTorch” is over PyTorch eager in its better layout. "
        f"“Of peak” is the share of the machine's best float32 matrix multiplication, "
        f"{_number(flops / 1e9 if flops else None, 0)} GFLOP/s. “Fastest” is what `load_predictor` takes by itself"
        f"{f' (here {runtime})' if runtime else ''}. “Difference” is the largest from {OURS_TF!r} in probability, or, "
        f"for PyTorch's model, from {TORCH!r} in logits, relative to the largest.\n\n{markdown_table(header, rows)}"
    )


def _difference(contenders: dict[str, dict], name: str) -> str:
    reference = OURS_TF if name in OWN_NETWORK else TORCH
    mine, theirs = (contenders.get(n, {}).get("facts", {}).get("probe") for n in (name, reference))
    if name == reference or not mine or not theirs:
        return ""
    largest = max(map(abs, theirs)) if reference == TORCH else 1.0
    return f"{max(abs(a - b) for a, b in zip(mine, theirs, strict=True)) / largest:.0e}"


INPUT_VARIANTS = {"first": "first epoch", "later": "later epochs", "turned": "later, shuffled and turned"}


def _input(results: Results) -> str:
    group = results["input"]
    rows = []
    for name, contender in group["contenders"].items():
        if "error" in contender:
            rows.append([name, f"failed: {contender['error']}", *["–"] * (2 * len(INPUT_VARIANTS) - 1)])
            continue
        cells = []
        for variant in INPUT_VARIANTS:
            seconds = median_seconds(contender, variant)
            ratio = "" if name == OURS else _interval(_ratio(results, "input", OURS, name, variant))
            cells += [_three(group["patches"] / seconds if seconds else None), ratio]
        rows.append([name, *cells])
    header = ["", *(cell for title in INPUT_VARIANTS.values() for cell in (f"{title}: patches/s", "ours ÷ it"))]
    over = {variant: _over_consumption(results, variant) for variant in INPUT_VARIANTS}
    eaten = "; ".join(f"{INPUT_VARIANTS[variant]} {_three(value)}" for variant, value in over.items() if value)
    return (
        f"{group['patches']} patches in the released format to batches of 16, six channels and mask. Ours checks every "
        f"file in the first epoch and keeps the channels in memory, or reads again (“cache: none”); the generator and "
        f"the DataLoader read the files each epoch, from the system's page cache. {_agreement(group['contenders'])}\n\n"
        f"{markdown_table(header, rows)}"
        + (f"\n\nOurs ÷ what the faster training step takes: {eaten}." if eaten else "")
    )


def _agreement(contenders: dict[str, dict]) -> str:
    """How far the first batches' means are apart."""
    probes = [c["facts"]["probe"] for c in contenders.values() if "facts" in c]
    apart = [max(values) / min(values) - 1 for values in zip(*probes, strict=True) if min(values) > 0]
    return f"The means of the channels and the mask of the first batch agree to {max(apart, default=math.nan):.0e}."


def _start(results: Results) -> str:
    group = results["start"]
    titles = {
        "command": "tf-landslide {}",
        "first_step": f"first training step of {group['batch']}, {{}}",
        "first_answer": "first answer, {}",
    }
    rows = []
    for kind, title in titles.items():
        for name, entry in group[kind].items():
            seconds = _three(statistics.median(entry["seconds"])) if entry["seconds"] else f"failed: {entry['error']}"
            imports = {True: "imported", False: "not imported", None: ""}[entry.get("imports_tensorflow")]
            rows.append([title.format(name), seconds, len(entry["seconds"]), imports])
    return "From the start of the process; U-Net/ResNet-34.\n\n" + markdown_table(
        ["", "seconds", "times", "TensorFlow"], rows
    )


def _serving(results: Results) -> str:
    return f"U-Net/ResNet-34, one patch of 128 × 128 × 6 a request. {server.table(results['serving'])}"


GROWING = {
    "patches": "patches of 128 × 128 in one call",
    "pixels": "pixels of each of four patches",
    "callers": "callers, each asking for the same number of patches one by one",
}


def _growth(results: Results) -> str:
    group, rows = results["growth"], []
    for kind, title in GROWING.items():
        points = {int(n): (median_seconds(c, "all"), _memory_mb(c)) for n, c in group[kind].items()}
        whole = all(None not in point for point in points.values())
        slopes = [_slope(points, i) if whole else None for i in (0, 1)]
        rows.append(
            [
                title,
                " → ".join(f"{n:,}" for n in points),
                " → ".join(_three(seconds) for seconds, _ in points.values()),
                _number(slopes[0], 2),
                " → ".join(_number(memory, 0) for _, memory in points.values()),
                _number(slopes[1], 2),
            ]
        )
    header = ["what grows", "", "seconds", "exponent", "MB above the loaded model, arrays included", "exponent"]
    memory = {name: _memory_mb(_of(results, "training").get(name, {})) for name in (OURS, OURS_XLA, SMP)}
    told = "; ".join(f"{name} {value:.0f} MB" for name, value in memory.items() if value)
    slope, epochs = _mb_an_epoch(results), group["epochs"].get("resident_mb", [])
    lines = [
        "The predictor. The exponent is the slope of the logarithms: 1 is linear.",
        markdown_table(header, rows),
        f"Training U-Net/ResNet-34, memory above import: {told}." if told else "",
        f"Training goes on for {len(epochs)} more epochs of `fit`: {slope:+.2f} MB an epoch (resident memory after "
        f"each: {', '.join(f'{mb:.0f}' for mb in epochs)} MB)."
        if epochs
        else f"Growth over epochs failed: {group['epochs'].get('error')}.",
    ]
    return "\n\n".join(filter(None, lines))


def _slope(points: dict[int, tuple[float, float]], which: int) -> float:
    least = (1e-6, 0.1)[which]  # second, MB: memory may not have grown at all
    logs = [(math.log(n), math.log(max(point[which], least))) for n, point in points.items()]
    return statistics.linear_regression(*zip(*logs, strict=True)).slope


def _gpu(results: Results) -> str:
    names = {c["facts"]["gpu"] for c in _contenders(results) if c.get("facts", {}).get("gpu")}
    if not names:
        return "## GPU\n\nNot run yet: nobody has run `make bench` on one."
    return (
        f"## GPU\n\nTraining, and inference of TensorFlow and PyTorch, ran on {', '.join(sorted(names))}: TensorFlow "
        "trains in mixed_float16, PyTorch in float16 by autocast, each step until its loss is known."
    )


SECTIONS: dict[str, tuple[str, Callable[[Results], str]]] = {
    "training": ("Training step, U-Net/ResNet-34", lambda results: _training(results, "training", SMP)),
    "training_plain": ("Training step, plain U-Net", lambda results: _training(results, "training_plain", PLAIN_TORCH)),
    "training_windows": ("Training step, large windows", _windows),
    "inference": ("Inference", _inference),
    "input": ("Input", _input),
    "start": ("Start", _start),
    "serving": ("Serving", _serving),
    "growth": ("Growth", _growth),
}

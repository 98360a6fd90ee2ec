"""``tf-landslide compare``."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.cli.parsing import Arguments, Commands, add_command
from tf_landslide.cli.printing import print_json
from tf_landslide.core.tables import text_table


def add(commands: Commands) -> None:
    parser = add_command(commands, "compare", run, "set runs beside each other: scores, intervals, significance")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folders, or folders of runs")
    parser.set_defaults(anywhere="runs")
    parser.add_argument("--split", default="test", help="train, valid or test (default test)")
    parser.add_argument("--data", metavar="DIR", help="judge them on this dataset (default: what the runs kept)")
    parser.add_argument("--against", metavar="RUN", help="the baseline, one of them (default: the best)")
    parser.add_argument("--out", metavar="DIR", help="folder for Markdown, CSV, HTML, JSON and a figure")
    parser.add_argument("--json", action="store_true", help="print the comparison as JSON")


def run(a: Arguments) -> None:
    from tf_landslide.evaluation.comparing import comparison_table  # Matplotlib
    from tf_landslide.jobs.compare import compare_runs  # SciPy

    compared = compare_runs(a.runs, a.split, Path(a.out) if a.out else None, a.data, a.against)
    if a.json:
        print_json(compared)
        return
    table = comparison_table(compared)
    print(text_table(table.header, table.rows))
    known = compared["pixels"] - compared["ignored"]
    origin = "; ".join(sorted({source for row in compared["rows"] for source in row["threshold_from"]}))
    print(
        f"{compared['split']}: {compared['patches']:,} patches, {known:,} pixels; thresholds {origin}; intervals and p "
        f"over {compared['units']:,} {compared['unit']}"
    )
    for note in compared["notes"]:
        print(f"note: {note}")
    if a.out:
        print(f"report: {Path(a.out) / 'compare.html'}")

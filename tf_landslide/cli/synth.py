"""``tf-landslide synth``."""

from __future__ import annotations

from tf_landslide.cli.parsing import Arguments, Commands, add_command


def add(commands: Commands) -> None:
    parser = add_command(commands, "synth", run, "write the synthetic sample landscape")
    parser.add_argument("dir", metavar="DIR", help="a new folder")
    for split, n in (("train", 192), ("valid", 48), ("test", 64)):
        parser.add_argument(f"--{split}", type=int, default=n, metavar="N", help=f"{split} patches (default {n})")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="equal seeds give equal files (default 0)")


def run(a: Arguments) -> None:
    from tf_landslide.data.synthetic import write_sample  # SciPy

    sizes = write_sample(a.dir, train=a.train, valid=a.valid, test=a.test, seed=a.seed)
    print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches (synthetic)")

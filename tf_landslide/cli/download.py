"""``tf-landslide download``."""

from __future__ import annotations

from tf_landslide.cli.parsing import Arguments, Commands, add_command


def add(commands: Commands) -> None:
    what = "fetch the real Landslide4Sense (needs internet; resumes; checks sums)"
    parser = add_command(commands, "download", run, what)
    parser.add_argument("dir", metavar="DIR", help="folder to unpack into")
    parser.add_argument("--mirror", metavar="URL", help="a server that answers as Zenodo does")


def run(a: Arguments) -> None:
    from tf_landslide.data.download import ZENODO, download  # HDF5

    sizes = download(a.dir, mirror=a.mirror or ZENODO)
    print(f"{a.dir}: {', '.join(f'{n} {split}' for split, n in sizes.items())} patches")

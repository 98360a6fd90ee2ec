"""The sample patch, which the page shows until something was run."""

from __future__ import annotations

from pathlib import Path

from tf_landslide.data.folders import find_patches
from tf_landslide.data.synthetic import write_sample
from tf_landslide.page import views
from tf_landslide.page.uploads import read_uploads


def sample_files(folder: Path) -> tuple[Path, Path]:
    """A patch and mask of the synthetic sample landscape, written when first asked for."""
    target = folder / "sample"
    if not target.exists():
        write_sample(target, train=1, valid=1, test=3, seed=0)
    patch = find_patches(target, "test")[1]
    assert patch.image and patch.mask
    return patch.image, patch.mask


def example(folder: Path) -> views.Pictures:
    """Pictures of the sample patch, for a page on which nothing was run yet."""
    image, mask = sample_files(folder)
    (upload,), _ = read_uploads([image], [mask])
    assert upload.mask is not None
    _, outlined = views.before_and_after(upload, upload.mask, opacity=0.45)
    return [*views.inputs(upload)[:3], (outlined, "its landslides, outlined")]

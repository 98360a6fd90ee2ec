"""The forest as plain arrays gives what scikit-learn's gives, and reads nothing else."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.forest import Forest


def objects(seed, rows=400):
    """A table with gaps, and what is a landslide."""
    rng = np.random.default_rng(seed)
    table = {name: rng.normal(size=rows) for name in ("probability_mean", "slope_mean", "ndvi_mean")}
    landslide = table["probability_mean"] + 0.3 * rng.normal(size=rows) > 0.2
    table["ndvi_mean"][rng.random(rows) < 0.2] = np.nan
    table["none"] = np.full(rows, np.nan)
    return table, landslide


def test_it_equals_scikit_learn():
    table, landslide = objects(0)
    names = ["probability_mean", "slope_mean", "ndvi_mean"]
    fill = np.array([np.nanmedian(table[name]) for name in names])
    x = np.stack([np.where(np.isnan(table[n]), f, table[n]) for n, f in zip(names, fill, strict=True)], axis=1)
    theirs = RandomForestClassifier(30, min_samples_leaf=3, random_state=1).fit(x, landslide)
    ours = Forest.of_sklearn(theirs, names, fill)
    new, _ = objects(1, 1000)
    y = np.stack([np.where(np.isnan(new[n]), f, new[n]) for n, f in zip(names, fill, strict=True)], axis=1)
    np.testing.assert_allclose(ours.probability(new), theirs.predict_proba(y)[:, 1], rtol=0, atol=1e-12)


def test_a_grown_one_knows_and_is_read_as_it_was_written(tmp_path):
    table, landslide = objects(2)
    forest = Forest.grown(table, landslide, np.ones(len(landslide)), trees=20)
    assert "none" not in forest.attributes
    new, truth = objects(3)
    found = forest.probability(new)
    assert ((found >= 0.5) == truth).mean() > 0.8
    forest.write(tmp_path / "f.npz")
    again = Forest.beside(tmp_path, "f.npz")
    np.testing.assert_array_equal(again.probability(new), found)
    without = {name: values for name, values in new.items() if name != "slope_mean"}
    assert np.isfinite(again.probability(without)).all()


def test_one_kind_alone_grows_nothing():
    table, landslide = objects(4)
    with pytest.raises(LandslideError, match="both kinds"):
        Forest.grown(table, landslide | True, np.ones(len(landslide)))


def _written(tmp_path, **changes):
    table, landslide = objects(5, 60)
    forest = Forest.grown(table, landslide, np.ones(60), trees=2)
    arrays = {name: getattr(forest, name) for name in vars(forest) if name != "digest"} | changes
    np.savez(tmp_path / "f.npz", **{name: value for name, value in arrays.items() if value is not None})
    return tmp_path / "f.npz"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"share": None}, "'share' is missing"),
        ({"feature": np.zeros(3)}, "'feature' has type float64"),
        ({"feature": np.zeros(1, np.int32)}, "nodes are not whole"),
        ({"fill": np.full(3, np.nan)}, "'fill' does not fit"),
        ({"roots": np.array([10**6], np.int32)}, "points beyond its nodes"),
        ({"attributes": np.array(["a"]), "fill": np.zeros(1)}, "points beyond its nodes"),
        ({"attributes": np.array([{}], object)}, "is no forest"),
    ],
)
def test_what_is_no_forest_is_refused(changes, told, tmp_path):
    path = _written(tmp_path, **changes)
    with pytest.raises(LandslideError, match=told) as refused:
        Forest.read(path)
    assert str(path) in str(refused.value)


def test_a_walk_without_an_end_is_refused(tmp_path):
    forest = np.load(_written(tmp_path))
    left = forest["left"].copy()
    left[left >= 0] = 0
    with pytest.raises(LandslideError, match="points beyond its nodes"):
        Forest.read(_written(tmp_path, left=left))


def test_neither_pickles_nor_links_are_followed(tmp_path):
    (tmp_path / "p.npz").write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "link.npz").symlink_to(_written(tmp_path))
    for name, told in (("p.npz", "is no forest"), ("empty.npz", "is no forest"), ("link.npz", "not a regular file")):
        with pytest.raises(LandslideError, match=told):
            Forest.read(Path(tmp_path / name))

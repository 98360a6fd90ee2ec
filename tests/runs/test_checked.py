"""Scores of a card or of metrics.json: all that tables and limits show, or one line."""

import copy
import json
import re

import pytest

from tests.fuzz.seeds import CARD
from tf_landslide.core.errors import LandslideError
from tf_landslide.runs.card import ModelCard
from tf_landslide.runs.checked import read_folds
from tf_landslide.runs.folder import Run


def card(change=lambda _: None):
    values = copy.deepcopy(CARD)
    change(values["scores"]["valid"])
    return ModelCard.from_dict(values, "card.json")


def test_a_score_that_has_no_value_is_a_dash():
    def nothing_found(row):
        row["f1"], row["interval"]["precision"] = None, [None, None]

    assert "| valid (a share of train) | 5 | – | 0.5000 | 0.5000 (0.400-0.600) |" in card(nothing_found).markdown()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda row: row["interval"].pop("precision"), "valid.interval.precision: field required"),
        (lambda row: row.update(f1="0.5"), "valid.f1: input should be a valid number, found '0.5'"),
        (lambda row: row["interval"].update(iou=[0.1]), "valid.interval.iou"),
        (lambda row: row.update(share_of_train=[1]), "valid.share_of_train"),
        (lambda row: row.update(groups_of_train=3), "valid.groups_of_train"),
    ],
)
def test_scores_that_are_not_whole_are_refused(change, said):
    with pytest.raises(LandslideError, match=rf"^card.json: {said}"):
        card(change)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"converted_from": {"sha256": "0"}}, "converted_from.file: field required"),
        ({"converted_from": "resnet.pth"}, "converted_from: input should be"),
        ({"packages": ["keras"]}, "packages: input should be"),
        ({"synthetic": "no"}, "synthetic: input should be a valid boolean, found 'no'"),
        ({"patch": [128]}, "patch.1: field required"),
        ({"data_fingerprint": {"train": 275}}, "data_fingerprint.train: input should be"),
        ({"data": None}, "data: input should be a valid string"),
        ({"resumed": 3}, "resumed: input should be a valid list"),
        ({"positive_weight": "3"}, "positive_weight: input should be a valid number"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_environment_that_is_damaged_is_refused_wherever_it_is_asked(damage, said, tmp_path):
    path = tmp_path / "environment.json"
    path.write_text(json.dumps(damage))
    run = Run(tmp_path, None)
    for asked in ("environment", "is_converted", "derived"):
        with pytest.raises(LandslideError, match=f"^{re.escape(str(path))}: {said}") as told:
            getattr(run, asked)
        assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ({}, "threshold: field required"),
        ({"threshold": "0.5", "by_fold": []}, "threshold: input should be a valid number"),
        ({"threshold": 1.5, "by_fold": []}, "threshold: input should be less than or equal to 1"),
        ({"threshold": 0.5, "by_fold": [{"run": "fold_0", "groups": "a"}]}, "by_fold.0.groups: input should be"),
    ],
    ids=["nothing", "text", "above_1", "groups"],
)
def test_folds_that_are_damaged_are_refused(folds, said, tmp_path):
    path = tmp_path / "folds.json"
    path.write_text(json.dumps(folds))
    with pytest.raises(LandslideError, match=f"^{re.escape(str(path))}: {said}"):
        read_folds(path)

"""Scores of a card or of metrics.json: all that tables and limits show, or one line."""

import copy

import pytest

from tests.fuzz.seeds import CARD
from tf_landslide.core.errors import LandslideError
from tf_landslide.runs.card import ModelCard


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

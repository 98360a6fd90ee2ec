"""Rules: what they say of a table, that they are monotone as their ramps say, and what is refused."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_landslide.core.errors import LandslideError
from tf_landslide.objects.rules import SHIPPED, Rules

SHIPPED_NAMES = sorted(path.stem for path in SHIPPED.glob("*.yaml"))
RULES = Rules.read("landslide")
ATTRIBUTES = sorted({condition.attribute for condition in RULES.conditions})
VALUES = st.one_of(st.just(float("nan")), st.floats(-2, 100))


def plain(**changes):
    """Rules of one condition as plain values."""
    condition = {"attribute": "slope_mean", "rises": [5, 15]}
    return {"name": "r", "sets": [{"name": "s", "decides": "support", "conditions": [condition]}]} | changes


def by_hand(rules, row):
    """The confidence of one object, by the definition: a plain loop."""
    total = weight = 0.0
    kept = 1.0
    for s in rules.sets:
        degrees = []
        for c in s.conditions:
            value = row.get(c.attribute, float("nan"))
            low, high = c.rises or c.falls
            share = min(max((value - low) / (high - low), 0), 1)
            degrees.append((share if c.rises else 1 - share, c.weight) if value == value else None)
        known = [d for d in degrees if d]
        if not known or (s.combine == "all" and len(known) < len(degrees)):
            continue
        if s.combine == "mean":
            degree = sum(d * w for d, w in known) / sum(w for _, w in known)
        else:
            degree = (min if s.combine == "all" else max)(d for d, _ in known)
        if s.decides == "support":
            total, weight = total + s.weight * degree, weight + s.weight
        else:
            kept *= 1 - s.weight * degree
    return total / weight * kept if weight else 0.0


def table_of(rows):
    return {name: np.array([row.get(name, np.nan) for row in rows], float) for name in ATTRIBUTES}


@given(st.lists(st.fixed_dictionaries(dict.fromkeys(ATTRIBUTES, VALUES)), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_confidence_is_the_definition(rows):
    found = RULES.confidence(table_of(rows))
    assert found.shape == (len(rows),) and found.dtype == np.float64
    np.testing.assert_allclose(found, [by_hand(RULES, row) for row in rows], atol=1e-12)


def directions():
    """Attributes whose conditions all pull one way: -1 or 1; a support pulls with its ramp, a rejection against it."""
    pulls = {}
    for s in RULES.sets:
        for c in s.conditions:
            pulls.setdefault(c.attribute, set()).add((1 if c.rises else -1) * (1 if s.decides == "support" else -1))
    return {name: pull.pop() for name, pull in pulls.items() if len(pull) == 1}


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_confidence_is_monotone_as_the_ramps_say(data):
    name, direction = data.draw(st.sampled_from(sorted(directions().items())))
    row = data.draw(st.fixed_dictionaries(dict.fromkeys(ATTRIBUTES, VALUES)))
    values = sorted(data.draw(st.lists(st.floats(-2, 100), min_size=2, max_size=6)))
    found = RULES.confidence(table_of([row | {name: value} for value in values]))
    assert (np.diff(found) * direction >= -1e-15).all()
    assert ((found >= 0) & (found <= 1)).all()


def test_every_attribute_of_the_shipped_rules_pulls_one_way():
    assert set(directions()) == set(ATTRIBUTES)


def test_what_cannot_be_had_is_left_out_and_told():
    rgb = {"probability_mean": np.array([0.1, 0.9]), "probability_share": np.array([0.0, 1.0]), "area_px": [9.0, 9.0]}
    rgb["ndvi_mean"] = np.full(2, np.nan)
    assert RULES.confidence(rgb).tolist() == [0.0, 1.0]
    told = RULES.left_out(rgb)
    assert {"ndvi_mean", "slope_mean", "ndwi_mean"} <= set(told) and "probability_mean" not in told
    assert RULES.confidence({"area_px": np.array([9.0])}).tolist() == [0.0]  # nothing that supports can be told


def test_a_ramp_is_not_asked_of_another_unit():
    left, told = RULES.for_units({"slope": "relative", "ndvi": "index"})
    assert "slope_mean" not in {c.attribute for c in left.conditions}
    assert "ndvi_mean" in {c.attribute for c in left.conditions}
    assert told == {"slope_mean": "slope is in relative, its ramp in degrees"}
    same, none = RULES.for_units({"slope": "degrees"})
    assert same == RULES and not none
    with pytest.raises(LandslideError, match="no condition that supports"):
        Rules.from_dict(_needing("degrees")).for_units({"slope": "relative"})


def _needing(unit):
    values = plain()
    values["sets"][0]["conditions"][0]["needs"] = {"slope": unit}
    return values


def test_a_misspelt_layer_of_needs_is_told():
    values = plain()
    values["sets"][0]["conditions"][0]["needs"] = {"slop": "degrees"}
    with pytest.raises(LandslideError, match="slope_mean: needs: expected the layer it is of, found 'slop'"):
        Rules.from_dict(values)
    values["sets"][0]["conditions"][0] |= {"attribute": "relief", "needs": {"dem": "metres"}}
    assert Rules.from_dict(values).conditions[0].needs == {"dem": "metres"}


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_rules_give_reasons_and_sources(name):
    rules = Rules.read(name)
    assert rules.name == name
    assert all(condition.reason for condition in rules.conditions)
    assert {c.source for c in rules.conditions} - {"ours"} <= set(rules.sources)


def test_rules_are_written_as_they_are_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(RULES.as_dict(), sort_keys=False))
    assert Rules.read(path) == RULES


def test_marks_span_from_the_whole_object_to_the_network_alone():
    marks = Rules.from_dict(plain(marks={"accepted": 1, "rejected": 0})).marks
    assert marks.levels(0.4) == (0.4, 0.4)
    assert Rules.from_dict(plain()).marks.levels(0.4) == (0.0, float("inf"))
    assert Rules.from_dict(plain(marks={"accepted": 0.5, "rejected": 0.5})).marks.levels(0.4) == (0.2, 0.7)


def changed(**condition):
    values = plain()
    values["sets"][0]["conditions"][0].update(condition)
    return values


def with_set(**changes):
    values = plain()
    values["sets"][0].update(changes)
    return values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "expected keys and values"),
        (plain(acept=0.5), "unknown key of rules 'acept'; did you mean 'accept'"),
        ({"name": "r"}, "sets: is missing"),
        ({"sets": []}, "name: is missing"),
        (plain(name="a b"), "name: expected letters"),
        (plain(accept=0), "accept: expected a confidence above 0"),
        (plain(accept=float("nan")), "accept: expected a confidence above 0"),
        (plain(accept="much"), "accept: .*found 'much'"),
        (plain(sets=3), "sets: expected a list"),
        (plain(sets=[]), "none of them supports"),
        (plain(sets=[3]), "set 1: "),
        (with_set(decides="perhaps"), "set 's': decides: "),
        (with_set(decides="reject"), "none of them supports"),
        (with_set(decides="reject", weight=2), "expected a number 0 to 1, found 2"),
        (with_set(weight=-1), "expected a number from 0 on, found -1"),
        (with_set(conditions=[]), "has no conditions"),
        (with_set(combine="sum"), "set 's': combine: "),
        (with_set(colour="red"), "set 's': colour: "),
        (plain(sets=plain()["sets"] * 2), "'s' is listed twice"),
        (changed(falls=[1, 2]), "slope_mean: expected either rises or falls"),
        (changed(rises=None), "slope_mean: expected either rises or falls"),
        (changed(rises=[15, 5]), "low < high, found \\[15.0, 5.0\\]"),
        (changed(rises=[5, float("inf")]), "low < high"),
        (changed(rises=[5]), "set 's': conditions.0.rises"),
        (changed(within=[6, 20]), "expected a ramp within \\[6.0, 20.0\\], found \\[5.0, 15.0\\]"),
        (changed(weight=0), "slope_mean: weight: expected a number above 0"),
        (changed(source="martha2010"), "unknown source of 'slope_mean' 'martha2010'"),
        (changed(slope=3), "conditions.0.slope"),
        (plain(marks={"accepted": 2}), "marks: accepted: expected a number 0 to 1, found 2"),
        (plain(marks={"kept": 1}), "marks: kept"),
        (plain(segments=[]), "segments: expected keys and values"),
        (plain(segments={"scale": 3}), "unknown key of segments 'scale'"),
        (plain(segments={"size": "big"}), "segments: size"),
        (plain(segments={"method": "magic"}), "unknown method of segmenting 'magic'"),
        (plain(forest="../forest.npz"), "name of a .npz file beside the rules"),
        (plain(forest="none.npz"), "none.npz: no such forest"),
    ],
)
def test_what_are_no_rules_is_refused_in_one_line(values, told, tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(LandslideError, match=told) as refused:
        Rules.read(path)
    assert str(refused.value).startswith(str(path)) and "\n" not in str(refused.value)


def test_rules_that_are_not_there(tmp_path):
    with pytest.raises(LandslideError, match="unknown rules 'landslid'; did you mean 'landslide'"):
        Rules.read("landslid")
    with pytest.raises(LandslideError, match="no such rules"):
        Rules.read(tmp_path / "rules.yaml")

"""Settings: refused values, and the round trip through JSON."""

import json
from dataclasses import replace

import pytest

from ser_nnunet.errors import UserError
from ser_nnunet.evaluation.settings import Settings


def test_all_invalid_settings_are_named_at_once():
    with pytest.raises(UserError) as raised:
        Settings(tolerance_mm=0, strata=(10, 10), min_overlap=2, detection="luck", groups=("texture",))
    for word in ("tolerance", "rising edges", "minimal overlap", "luck", "texture"):
        assert word in str(raised.value)


def test_settings_survive_json():
    settings = Settings(("overlap",), class_tolerance_mm={"a": 2.0}, detection="iou", strata=(5, 50))
    assert Settings.from_json(settings.as_json()).as_json() == settings.as_json()
    assert settings.as_json()["min_overlap"] == 0.1  # the rule's default


@pytest.mark.parametrize("chosen", ["auto", "all", (), ("tumour",)])
def test_lesion_classes_survive_json_and_choose_the_metrics(chosen):
    settings = Settings(lesion_classes=chosen)
    assert Settings.from_json(json.loads(json.dumps(settings.as_json()))) == replace(settings, min_overlap=0.0)
    counted = {name: "PQ" in [metric.name for metric in settings.metrics_of(name)] for name in ("organ", "tumour")}
    assert counted == {"organ": chosen in ("auto", "all"), "tumour": chosen != ()}


def test_classes_that_do_not_exist_are_named_together():
    settings = Settings(class_tolerance_mm={"a": 1.0}, lesion_classes=("b",))
    with pytest.raises(UserError, match="given for a; lesions should be counted for b; but the classes are c"):
        settings.check_classes(["c"])


@pytest.mark.parametrize(
    ("setting", "value", "word"),
    [
        ("tolerance_mm", float("inf"), "tolerance"),
        ("tolerance_mm", float("nan"), "tolerance"),
        ("class_tolerance_mm", {"a": float("nan"), "b": 1.0}, "tolerance"),
        ("seed", -1, "seed"),
        ("lesion_classes", "lesion", "tuple of classes, not lesion"),
        ("bootstrap", 100_000_000, "resamples"),
        ("strata", tuple(range(2, 100_002)), "edges"),
    ],
)
def test_numbers_that_would_crash_or_take_hours_are_refused(setting, value, word):
    with pytest.raises(UserError, match=word) as raised:
        Settings(**{setting: value})
    assert len(str(raised.value)) < 500

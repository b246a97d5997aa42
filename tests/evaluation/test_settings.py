"""Settings: refused values, and the round trip through JSON."""

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

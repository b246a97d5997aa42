"""The demo's options: their defaults, and all impossible values reported at once."""

import pytest

from ser_nnunet.cli import build_parser, main
from ser_nnunet.demo.demo_settings import DemoSettings, check_settings
from ser_nnunet.errors import UserError


def test_all_impossible_settings_are_reported_at_once():
    with pytest.raises(UserError) as refusal:
        check_settings(DemoSettings(patients=2, test_patients=0, spacing=9, seed=-1))
    message = str(refusal.value)
    assert all(option in message for option in ("--patients 2", "--test-patients 0", "--spacing 9", "--seed -1"))


def test_the_defaults_are_those_that_the_readme_states():
    args = build_parser("demo").parse_args(["demo"])
    assert (str(args.folder), args.patients, args.test_patients, args.spacing) == ("ser_nnunet_demo", 12, 4, 2.5)


def test_missing_packages_are_reported_with_the_command_that_installs_them(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("ser_nnunet.demo.demo_settings.EXTRAS", {"no_such_module": "demo", "nor_this_one": "sam"})
    assert main(["demo", "--folder", str(tmp_path / "demo")]) == 2
    assert "pip install 'ser-nnunet[demo,sam]'" in capsys.readouterr().err

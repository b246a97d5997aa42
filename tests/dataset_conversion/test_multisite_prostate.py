"""Multi-site prostate: zones become one class, site names and letters give the same cases."""

from __future__ import annotations

from pathlib import Path

from tests.dataset_conversion.builders import BUILDERS, multisite_prostate
from tests.dataset_conversion.helpers import convert_sample, count_label_values


def test_zones_of_the_multi_site_set_are_merged_and_that_is_noted(tmp_path: Path):
    report = convert_sample(multisite_prostate(tmp_path / "source"), tmp_path / "raw")
    assert set(count_label_values(report.folder, "BMC_Case00")) == {0, 1}
    assert "value 2 became 1 (prostate) in 2 cases: 2 of BMC" in str(report.notes)


def test_letters_and_names_of_the_sites_give_the_same_cases(tmp_path: Path):
    cases = []
    for name in ("multisite_prostate", "multisite_letters"):
        report = convert_sample(BUILDERS[name](tmp_path / name), tmp_path / "raw" / name)
        cases.append({(case.name, case.site) for case in report.cases})
    assert cases[0] == cases[1] and ("BMC_Case01", "BMC") in cases[0] and len(cases[0]) == 12

"""Checks across cases for CT of any body part: whether its values are Hounsfield units, and those under the masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from ser_nnunet.dataset_conversion.core.data_classes import LABEL, CaseReport, DatasetInfo, Problem
from ser_nnunet.dataset_conversion.core.hounsfield import AIR_HU

FEWEST_CASES = 3
"""With fewer, a case can't be unlike the others."""
MAX_DIFFERENCE_HU = 200
"""Greatest distance of a mask's median from that of the other cases: contrast media and fat explain less."""


def find_ct_channels(info: DatasetInfo) -> tuple[str, ...]:
    """Return the roles of the channels that nnU-Net normalises as CT."""
    return tuple(role for role, channel in info.channels.items() if channel.casefold() == "ct")


@dataclass(frozen=True)
class HounsfieldUnitsCheck:
    """Reports CT images without a negative value, which are not in Hounsfield units (air -1000, fat about -100)."""

    roles: tuple[str, ...]
    """Of the CT channels."""

    def __call__(self, reports: Sequence[CaseReport]) -> Iterator[Problem]:
        """Yield an error per case where others have negative values, else one warning."""
        for role in self.roles:
            ranges = {
                (report.case, facts.name): facts.value_range
                for report in reports
                for facts in report.facts
                if facts.role == role and all(map(isfinite, facts.value_range))
            }
            other = {key: (low, high) for key, (low, high) in ranges.items() if low >= 0 and low < high}
            if other and len(other) == len(ranges):
                highest = max(high for _, high in other.values())
                text = f"no {role} image holds a value below 0 (at most {highest:g}): these are not Hounsfield units"
                yield Problem("Hounsfield units", "", text, fatal=False)
                continue
            for (case, name), (low, high) in other.items():
                text = f"{name} holds {low:g} to {high:g}, nothing below 0 HU as the other cases do"
                yield Problem("Hounsfield units", case, text)


def find_odd_hounsfield_values(reports: Sequence[CaseReport]) -> Iterator[Problem]:
    """Warn of masks whose Hounsfield values are unlike those under the other cases' masks.

    A mask that reaches into air where the others' do not, or whose median is farther from theirs than any contrast
    medium explains, lies elsewhere, or its image is in other units. For data sets whose first channel is CT.
    """
    inside = {
        (report.case, facts.name): facts.values_inside
        for report in reports
        for facts in report.facts
        if facts.role == LABEL and facts.values_inside is not None and all(map(isfinite, facts.values_inside))
    }
    if len(inside) < FEWEST_CASES:
        return
    low, middle = (median(values[index] for values in inside.values()) for index in (0, 1))
    for (case, name), values in inside.items():
        if values[0] < AIR_HU <= low:
            text = f"{name}: 5 % of the mask lie below {values[0]:.0f} HU, in the other cases below {low:.0f} (median)"
        elif abs(values[1] - middle) > MAX_DIFFERENCE_HU:
            text = f"{name}: the median under the mask is {values[1]:.0f} HU, in the other cases {middle:.0f}"
        else:
            continue
        yield Problem("Hounsfield values", case, text, fatal=False)

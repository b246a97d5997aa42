"""What a verification found: findings in order of severity, as data, and as text for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_nnunet.dataset_conversion.core.data_classes import Problem
from ser_nnunet.utils.files import write_json
from ser_nnunet.verification.finding_kinds import ADVICE
from ser_nnunet.verification.verification_files import check_outputs

SHOWN = 10
"""Findings of one kind that the terminal shows; `--json` and `--html` have all of them."""


@dataclass(frozen=True)
class Finding:
    """An error or a warning.

    Attributes:
        severity: `error` or `warning`.
        kind: what is wrong, such as `geometry`.
        case: empty if it concerns the whole data set.
        text: names file, what was expected and what was found.
    """

    severity: str
    kind: str
    case: str
    text: str


@dataclass(frozen=True)
class Verification:
    """The result of `verify`.

    Attributes:
        about: data set, folder, number of cases, channels, classes, patients, splits, versions and date.
        findings: errors first, sorted by kind and case.
        files: case -> its first channel's file and its label's, for pictures; None for one that is absent.
    """

    about: dict[str, Any]
    findings: Sequence[Finding]
    files: dict[str, tuple[Path | None, Path | None]]

    @property
    def errors(self) -> list[Finding]:
        """The errors alone."""
        return [finding for finding in self.findings if finding.severity == "error"]

    def kinds(self) -> list[tuple[str, str, list[Finding]]]:
        """Return (severity, kind, findings) in the order of the findings."""
        groups: dict[tuple[str, str], list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault((finding.severity, finding.kind), []).append(finding)
        return [(*key, group) for key, group in groups.items()]

    def write_json(self, file: Path) -> Path:
        """Write everything as JSON; return the path. Raises `UserError` where a file that isn't a verification's is."""
        check_outputs(json_file=file, page=None)
        findings = [
            {"severity": each.severity, "kind": each.kind, "case": each.case, "text": each.text}
            for each in self.findings
        ]
        advice = {kind: ADVICE[kind] for _, kind, _ in self.kinds() if kind in ADVICE}
        counts = {"errors": len(self.errors), "warnings": len(self.findings) - len(self.errors)}
        return write_json(file, {**self.about, **counts, "findings": findings, "advice": advice})


def sort_findings(problems: Sequence[Problem], accepted: Sequence[str]) -> list[Finding]:
    """Return problems as findings, errors first; those of an accepted kind are warnings."""
    found = [
        Finding("error" if each.fatal and each.kind not in accepted else "warning", each.kind, each.case, each.text)
        for each in sorted(set(problems))
    ]
    return sorted(found, key=lambda finding: finding.severity != "error")


def format_verification(result: Verification) -> str:
    """Return the table of findings, what to do about each kind, and the counts."""
    lines = [describe_dataset(result.about), describe_grouping(result.about)]
    rows = [("severity", "kind", "case", "finding")]
    advice = []
    for severity, kind, group in result.kinds():
        rows += [(severity, kind, each.case or "-", each.text) for each in group[:SHOWN]]
        if len(group) > SHOWN:
            rows.append((severity, kind, "...", f"and {len(group) - SHOWN} more: --json and --html have all of them"))
        if kind in ADVICE and f"  {kind}: {ADVICE[kind]}" not in advice:
            advice.append(f"  {kind}: {ADVICE[kind]}")
    if len(rows) > 1:
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines += [
            "",
            *("  ".join([*(cell.ljust(w) for cell, w in zip(row[:3], widths, strict=True)), row[3]]) for row in rows),
        ]
        lines += ["", "what to do", *advice] if advice else []
    return "\n".join([*lines, "", count_findings(result)])


def describe_dataset(about: dict[str, Any]) -> str:
    """Return the data set's name, cases, channels and classes in a sentence."""
    count = about["unannotated_cases"]
    without = f", {count} of them without annotation (ignored everywhere)" if count else ""
    return (
        f"{about['dataset']}: {about['training_cases']} training and {about['test_cases']} test cases{without}; "
        f"channels: {', '.join(about['channels'])}; classes: {', '.join(about['classes'])}"
    )


def describe_grouping(about: dict[str, Any]) -> str:
    """Return how cases were assigned to patients, and which folds were checked."""
    folds = f"folds: {about['splits']}" if about["splits"] else "folds: no splits_final.json yet"
    if about["patients_by"] is None:
        text = "patients: each case counts as one (no conversion.json; --patients REGEX or --groups FILE names them)"
    else:
        text = f"patients: {about['patients']} by {about['patients_by']}"
    return f"{text}; {folds}"


def count_findings(result: Verification) -> str:
    """Return the numbers of errors and warnings, and of the cases that they concern, in a sentence."""
    counts = Counter(finding.severity for finding in result.findings)
    if not result.findings:
        return "no errors, no warnings"
    cases = {finding.case for finding in result.findings if finding.case}
    parts = [f"{counts[word]} {word}{'s' * (counts[word] != 1)}" for word in ("error", "warning")]
    return f"{' and '.join(parts)} in {len(cases)} case{'s' * (len(cases) != 1)}"

"""Numbers as text, and tables with their provenance."""

import pandas as pd

from ser_nnunet.benchmark.tables import format_interval, format_markdown_table, format_number, write_results


def test_numbers_are_written_with_significant_digits():
    written = [format_number(value) for value in (1234567.0, 12.345, 0.012345, 0.0, float("nan"))]
    assert written == ["1,234,567", "12.3", "0.0123", "0", "not defined"]
    assert format_number(float("nan"), absent="not measured") == "not measured"
    assert format_interval(0.1 + 0.2 - 0.3, 0.3 - 0.1 - 0.2, 1e-6) == "0 (0 to 0.00000100)", "rounding errors"
    assert format_interval(-0.5, -0.75, 0.25, 2) == "-0.50 (-0.75 to 0.25)"


def test_tables_carry_their_provenance(tmp_path):
    about = {"date": "2030-01-01", "command": "ser-nnunet benchmark size", "torch": "9.9", "load": "0.1"}
    table = pd.DataFrame({"system": ["a|b"], "n": [1]})
    csv, page = write_results(tmp_path, "size", table, [("Sizes", table)], ["counted"], about)
    assert csv.read_text().splitlines() == ["system,n,date,torch", "a|b,1,2030-01-01,9.9"]
    assert "| a\\|b | 1 |" in page.read_text() and "load 0.1" in page.read_text()
    assert format_markdown_table(table).splitlines()[1] == "| --- | ---: |"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["size.csv", "size.md"]

"""Readers on mutated files with fixed seeds; `tests/fuzz_readers.py` runs longer."""

import pytest

from tests.fuzz_readers import READERS, try_reader


@pytest.mark.filterwarnings("ignore")  # nibabel's, about headers that it repairs
@pytest.mark.parametrize("number", range(len(READERS)), ids=[reader.name for reader in READERS])
def test_mutated_files_are_refused_with_a_declared_exception_or_read(number, tmp_path):
    findings = [try_reader(READERS[number], seed, tmp_path) for seed in range(40)]
    assert [finding for finding in findings if finding] == []

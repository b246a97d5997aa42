"""`python -m tests.nnunet_small COMMAND ...`: a planning command of nnU-Net's, as cheap as small images should be.

For the fingerprint of every data set nnU-Net draws 100 million intensities, however few voxels there are; here it draws
100,000. It starts new processes that check, measure and preprocess, each of which imports torch again; here they are
threads. Whatever else runs is nnU-Net's code.
"""

import multiprocessing
import multiprocessing.dummy
import multiprocessing.pool
import sys
from importlib.metadata import entry_points


def main(arguments: list[str]) -> None:
    # multiprocessing.pool, imported above, keeps the real one, whose queues its threads use
    multiprocessing.get_context = lambda method=None: multiprocessing.dummy
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    begin = DatasetFingerprintExtractor.__init__

    def begin_with_few(self, *arguments, **settings):
        begin(self, *arguments, **settings)
        assert self.num_foreground_voxels_for_intensitystats > 1e5
        self.num_foreground_voxels_for_intensitystats = 1e5

    DatasetFingerprintExtractor.__init__ = begin_with_few
    (script,) = entry_points(group="console_scripts", name=arguments[0])
    sys.argv = arguments
    script.load()()


if __name__ == "__main__":
    main(sys.argv[1:])

"""A group of metrics as a contributor would add it: volumetric similarity (Taha and Hanbury, BMC Med Imaging 2015)."""

from ser_nnunet.evaluation.definitions import Measurement, Metric, MetricGroup
from ser_nnunet.evaluation.masks import ClassMasks
from ser_nnunet.evaluation.overlap import divide
from ser_nnunet.evaluation.settings import Settings

GROUP = MetricGroup(
    "tests.evaluation.similarity",
    (
        Metric("volumetric_similarity", "Volumetric similarity", "", "higher", "1 - |FN - FP| / (2 TP + FP + FN)"),
        Metric("volume_ratio", "Volume ratio", "", "none", "prediction / reference", headline=False),
    ),
)


def measure(masks: ClassMasks, settings: Settings) -> Measurement:
    reference, prediction = int(masks.reference.sum()), int(masks.prediction.sum())
    similarity = 1 - divide(abs(reference - prediction), reference + prediction)
    return Measurement({"volumetric_similarity": similarity, "volume_ratio": divide(prediction, reference)})


def describe_rules(settings: Settings) -> str:
    return "Volumetric similarity as defined by Taha and Hanbury."

"""The Decathlon's dataset.json (nnU-Net v1's format)."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from ser_nnunet.utils.json_files import JsonModel, Name

EXPECTED = "the Decathlon's dataset.json (nnU-Net v1's format, with 'modality' and 'labels')"
Index = Annotated[str, StringConstraints(pattern=r"^\d{1,3}$")]
Count = Annotated[int, Field(ge=0)]


class DecathlonJson(JsonModel):
    """The entries that the converter reads."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    modality: Annotated[dict[Index, Name], Field(min_length=1, max_length=100)]
    """Index of the channel -> its name."""
    labels: Annotated[dict[Index, Name], Field(min_length=2, max_length=256)]
    """Value in the labels -> name of the class."""
    training: list[Any] = []
    test: list[Any] = []
    numTraining: Count | None = None
    numTest: Count | None = None
    name: str | None = None
    description: str | None = None
    licence: str | None = None
    license: str | None = None
    reference: str | None = None
    release: str | None = None
    relase: str | None = None
    """As some of the Decathlon's files spell it."""

    @model_validator(mode="after")
    def _check_labels(self) -> DecathlonJson:
        twice = [name for name, count in Counter(self.labels.values()).items() if count > 1]
        large = [value for value in self.labels if int(value) > 255]
        if twice:
            raise ValueError(f"labels: one value per class expected, {', '.join(twice)} has several")
        if large:
            raise ValueError(f"labels: values of 0 to 255 expected, found {', '.join(large)}")
        return self

"""nnU-Net's dataset.json: what every reader of it needs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from ser_nnunet.utils.json_files import FileEnding, JsonModel, LabelOrRegion, LabelValue, Name

EXPECTED = (
    "an nnU-Net v2 dataset.json with 'labels' (name: value) and 'file_ending' (`ser-nnunet convert` writes one; the "
    "Medical Segmentation Decathlon's own dataset.json has another form)"
)


class DatasetJson(JsonModel):
    """The entries of dataset.json that are read here; nnU-Net's readers and label manager get all of them."""

    labels: Annotated[dict[Name, LabelOrRegion], Field(min_length=1, max_length=10_000)]
    file_ending: FileEnding
    regions_class_order: list[LabelValue] | LabelValue | None = None
    channel_names: Annotated[dict[str, str], Field(max_length=10_000)] | None = None
    name: str | None = None
    overwrite_image_reader_writer: str | None = None

    @model_validator(mode="after")
    def _need_a_class(self) -> DatasetJson:
        if not any(name not in ("background", "ignore") for name in self.labels):
            raise ValueError("labels: at least one class besides background and ignore expected")
        return self

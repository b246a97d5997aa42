"""The kinds of findings of a verification, and what to do about each."""

from __future__ import annotations

ADVICE = {
    "dataset.json": "correct the entry; nnU-Net's format: documentation/dataset_format.md in its repository",
    "missing image": "every case needs one file per channel: add it, or remove the case",
    "label without image": "nnU-Net ignores it: add the image, or remove the label",
    "image without label": "add the label, or move the image to imagesTs",
    "duplicate case": "remove the file that is not meant",
    "case name": "rename one of the two if they are different scans, remove it from imagesTs if they are the same",
    "extra file": "rename or remove it",
    "extra channel": "remove the file, or declare the channel in dataset.json",
    "listed file missing": "add the file, or correct dataset.json",
    "unreadable": "copy or download the file again",
    "sheared axes": "its voxels are not verified. nnU-Net reads it if dataset.json has overwrite_image_reader_writer "
    "NibabelIO; otherwise resample image and label to perpendicular axes",
    "components": "store one 3D image per channel and file, and labels with one value per voxel",
    "geometry": "resample or register it onto the grid of the first channel; if the array is right and the header "
    "wrong, copy the header of the image",
    "orientation": "store all images in one orientation (SimpleITK's DICOMOrient), labels with them",
    "spacing": "compare with the original; the voxel size decides how nnU-Net resamples",
    "non-integer label": "a label was resampled with interpolation or scaled: resample it with nearest neighbours",
    "label value": "declare the value in dataset.json, or correct the label",
    "empty mask": "if cases without foreground are intended, --accept 'empty mask'",
    "class absent": "expected if not every patient has it",
    "NaN or Inf": "replace these voxels: nnU-Net's SimpleITK reader takes them for 0 without a warning, its nibabel "
    "reader passes them on",
    "constant image": "remove the case: an image of one value holds no information",
    "duplicate image": "one of the two is a copy under another name: remove it, or put both into one fold",
    "duplicate label": "one of the two is a copy under another name: compare both with their images",
    "mask position": "look at it: the label may be flipped or turned; false alarms occur for symmetrical organs",
    "Hounsfield units": "apply slope and intercept of the DICOM files; nnU-Net expects HU in channels named CT",
    "Hounsfield values": "look at the case: the label may lie elsewhere, or the image be in other units",
    "patients": "name the patients of all cases with --patients REGEX or --groups FILE",
    "patient in train and test": "test cases of a training patient overestimate accuracy: move all scans to one side",
    "leakage between folds": "validation on a training patient overestimates accuracy: group the folds of "
    "splits_final.json by patient (nnUNet_preprocessed/DatasetXXX_Name)",
    "folds": "correct splits_final.json, or delete it for nnU-Net to make random folds",
}
"""Kind of finding -> what to do about it."""

CHECKS = (
    "dataset.json against the files: number of cases, channels, label values without gaps",
    "regions: the masks that nnU-Net writes in the order of regions_class_order give every region back",
    "files: missing channels, images without label, labels without image, extra and hidden files, two files of a case",
    "reading: damaged or truncated files (every gzip stream is read to its checksum), several values per voxel",
    "geometry: corners of label and channels at most 0.05 mm and a tenth of a voxel from the first channel's, axes "
    "stored alike",
    "orientation and voxel size: cases unlike the others, headers that were lost",
    "labels: integers (within 0.001), declared values only, not empty, every class present",
    "images: NaN, Inf, one value only",
    "copies: the same voxels under two names, in training, in test or across, however the axes are stored",
    "masks: none fits the first channel better after a flip or a quarter turn",
    "CT: values below 0 HU exist, and values under the mask are like the other cases'",
    "patients: none in training and test, none in training and validation of a fold",
)
"""What a verification looks at, for the page."""

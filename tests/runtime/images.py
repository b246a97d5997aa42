"""DICOM series, written slice by slice."""

import locale

import SimpleITK as sitk


def write_dicom_series(folder, volume):
    """Write a volume as one series whose file names have not the order of the slices; return the folder."""
    folder.mkdir(parents=True)
    volume, before = sitk.Cast(volume, sitk.sitkInt16), locale.setlocale(locale.LC_ALL)
    for index in range(volume.GetSize()[2]):
        part = volume[:, :, index]
        for key, value in {
            "0008|0060": "MR",
            "0020|000e": "1.2.826.0.1.3680043.2.1125.1",
            "0020|0013": str(index + 1),
            "0020|0032": "\\".join(map(str, volume.TransformIndexToPhysicalPoint((0, 0, index)))),
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            part.SetMetaData(key, value)
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{99 - index}.dcm"))
        writer.Execute(part)
    locale.setlocale(locale.LC_ALL, before)  # ITK's DICOM writer leaves the process in the ASCII locale
    return folder

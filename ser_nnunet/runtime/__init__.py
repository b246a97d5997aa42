"""Prediction from one file, without torch and nnU-Net: numpy, SimpleITK or nibabel, and onnxruntime or OpenVINO."""

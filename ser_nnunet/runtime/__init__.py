"""Prediction from one file, without torch and nnU-Net: numpy, scipy, SimpleITK and onnxruntime or OpenVINO."""

"""Side-by-side measurements against nnU-Net and SAM pipelines."""

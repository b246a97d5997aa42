"""A small promptable segmenter that stands in for SAM where its weights cannot be had. It isn't SAM."""

"""A small promptable segmenter that takes SAM's place in experiments without SAM's weights. It is not SAM."""

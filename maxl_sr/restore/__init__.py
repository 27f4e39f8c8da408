"""How images become tensors and pixels again, tile by tile, and how precisely they are computed."""

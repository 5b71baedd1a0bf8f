"""Whether a stage fits, for commands: `modelkit fit`, `QUANTIZE auto`, and what will not fit refused."""

"""One form of a model from another: de-quantized, converted, quantized; every result carries its recipe."""

"""Where models come from: networks, training, export to ONNX, accuracy. The only package that knows torch."""

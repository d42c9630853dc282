"""The hardware: device, precision, compilation, ranks, signals, measured peak."""

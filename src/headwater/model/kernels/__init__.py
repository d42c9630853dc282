"""The model's operations and the optimizer's passes as C++ kernels for processors, compiled on first use."""

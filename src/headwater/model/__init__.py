"""The mathematics as plain modules; `optim/` updates them, `kernels/` are C++ for processors."""

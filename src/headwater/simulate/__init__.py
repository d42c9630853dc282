"""A step of one of thousands of ranks, on tensors without memory: what it holds, exchanges and computes."""

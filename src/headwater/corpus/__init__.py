"""Documents in, documents out; every one kept or dropped with a reason. No torch."""

"""Documents in, documents out; each kept or dropped with a reason. `sources/`, `samples/` are texts."""

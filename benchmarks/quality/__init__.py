"""How soon a quality is reached: contenders, each trained in a process of its own, and what is made of their runs."""

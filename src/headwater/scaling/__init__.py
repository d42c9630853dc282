"""How loss falls with parameters and tokens: the law a table of runs shows, and forecasts with intervals. No torch."""

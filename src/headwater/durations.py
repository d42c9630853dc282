"""Spans of time as a terminal shows them."""


def duration(seconds: float) -> str:
    """Return a span in the two units a person would say: 8s, 4m05s, 3h20."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"

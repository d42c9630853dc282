"""Spans of time as the terminal and the report show them."""

MAX_HOURS = 96


def duration(seconds: float) -> str:
    """Return a span in the two units a person would say: 0.26s, 8s, 4m05s, 3h20, 5.2 days."""
    if seconds < 9.95:
        return f"{seconds:.2g}s"
    if seconds >= MAX_HOURS * 3600:
        return f"{seconds / 86400:.1f} days"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"

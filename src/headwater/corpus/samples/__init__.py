"""The demo's texts: packages that are fetched, readers of their own formats, the almanac and its probes. No torch."""

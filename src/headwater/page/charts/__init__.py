"""Charts of a run as plotly draws them, and the markup around them: the same in the report and on the live page."""

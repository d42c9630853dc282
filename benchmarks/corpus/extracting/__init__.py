"""Pages whose true text is known, and what several extractors make of them."""

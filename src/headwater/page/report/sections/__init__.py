"""The parts of the page, in the order in which they tell the story."""

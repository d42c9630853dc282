"""The picture of a run: plain values made from its folder, and the script and style that draw them."""

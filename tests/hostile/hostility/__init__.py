"""Files made to break what reads them, and the measuring of what becomes of them."""

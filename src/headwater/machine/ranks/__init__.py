"""The processes that train one run together: where each stands, how they meet, what they exchange."""

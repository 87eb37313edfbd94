"""Networks and state dicts that are in memory already, and functions of the user's that make them."""

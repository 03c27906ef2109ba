"""How a call runs: what is checked, planned, cut into blocks and handed to threads."""

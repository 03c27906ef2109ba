"""What losses are made of: their verbs, how their arrays belong together, their options."""

"""What modules of hosts have in common."""

"""What is done to the repository, and to what is built of it: packages and releases."""

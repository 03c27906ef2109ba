"""What is shown of an evaluation: the page with its pictures, and the text for a terminal."""

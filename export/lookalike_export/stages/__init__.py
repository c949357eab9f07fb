"""The networks of the four stages, as torch modules."""

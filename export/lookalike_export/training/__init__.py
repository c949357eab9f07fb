"""Programs that train the stages, one module each, and what they share."""

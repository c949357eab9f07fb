"""`make demo`: a catalog in, a photo in, its lookalikes out, on one machine."""

"""The page for browsers, and the JSON endpoints that it uses."""

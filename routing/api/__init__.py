"""The HTTP edge of routing: parse, one call, answer."""

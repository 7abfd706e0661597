"""See a collection: a map, groups, search, and what goes with what. Arrays in `maps`, `groups`, `associations`, `risks`."""

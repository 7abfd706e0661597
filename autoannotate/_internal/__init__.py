"""Progress, files, wording: what every room may use, and no user needs."""

"""Boxes that exist: read in the formats people have, audited, and proposed anew where they are surely wrong."""

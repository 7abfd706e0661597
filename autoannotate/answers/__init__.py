"""Answers: what clinicians said, kept, agreed upon, merged into labels, and certified."""

"""The methods that ours is measured against, written from their papers; one file each with `solve(problem)`.

All see the same features as ours and take the settings of their papers, or better ones where those do worse here (said in
the file). Adding one is adding a file and its entry in `evaluation.methods`.
"""

"""The clinician's page: one image at a time, or forty, answered by keyboard or touch; every answer is on the disk at once.

`desk` knows what a reader is asked and what was answered, `files` how the images are now, `lookalikes` which resemble each
other, `agreement` what several readers say together, `pictures` makes what the page shows; `app` offers them over HTTP,
`guard` lets only this page in, `server` runs it. The page itself is the plain HTML, CSS and JavaScript in `static`.
"""

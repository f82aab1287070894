"""report.html of a study: `sections` make the page.

`rows` are the trials, `figures` what is drawn of them, `axes` where their values lie.
"""

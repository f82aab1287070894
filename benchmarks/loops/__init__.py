"""One file for each contender; `fit(job)` trains the job's model in that library's way and returns it."""

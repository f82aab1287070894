"""`python -m labwright.cli` is `labwright`."""

from labwright.cli import main

main()

"""`python -m labwright` is `labwright`."""

from labwright.cli import main

main()

"""What the tests of clusters share with the core's and the studies'."""

from conftest import command, site  # noqa: F401 - fixtures

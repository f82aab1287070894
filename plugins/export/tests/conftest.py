"""The core's own site of installed plugins and its command line."""

from conftest import command, site  # noqa: F401 - fixtures

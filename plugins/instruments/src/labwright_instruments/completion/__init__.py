"""What a shell completes after `labwright`: verbs, options, names, settings with their values, runs and studies.

A shell asks at each press of a key, so that nothing heavy is imported here: names come from a menu that is kept until
something is installed or changed, settings are read in the source of their component.
"""

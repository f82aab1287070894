"""Object detection: boxes around the objects of a picture, each with its class."""

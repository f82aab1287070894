"""Models larger than one device: each of several processes holds a part of the parameters."""

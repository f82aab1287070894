"""Pictures with boxes: drawn at run time, and from folders in the usual layouts."""

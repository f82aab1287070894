"""Six kinds of deep learning for labwright, a file each: several answers, two views, boxes, masks, captions, spans."""

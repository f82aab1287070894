"""What an author implements: task, loss, optimizer, device, closed form; and the run and report sections they speak of.

A model is any `nn.Module`, so that it has no file here.
May import: base, data.
"""

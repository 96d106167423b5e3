"""3-D images as (array, 4x4 affine): files, canonical grids, registration, intensity, masks, compositing."""

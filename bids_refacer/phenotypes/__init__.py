"""What science a face carries: numeric phenotypes predicted from facial voxels, cross-validated. Numbers in and out."""

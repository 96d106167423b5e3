"""What the voxels of an image say: what stands for air, values that are of no use, faults that have a remedy."""

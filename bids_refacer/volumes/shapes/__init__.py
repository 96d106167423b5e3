"""Operations on bool masks that work on 64 voxels at a time."""

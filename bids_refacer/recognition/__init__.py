"""Would a face-recognition program find this person again? Heads are drawn as pictures, and pictures become vectors."""

"""Who is found again by face-recognition programs, and in how large a crowd."""
